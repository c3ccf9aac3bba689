"""`nestvec adapt`: fit, apply and compare adapters."""

from collections.abc import Collection
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli import options
from nestvec.cli.material import Material, check_as_made, refuse
from nestvec.cli.output import Columns, as_json, note, print_facts, print_json, print_table, size
from nestvec.cli.sides import Sides, forget, ids_of
from nestvec.errors import InputError, MissingExtraError
from nestvec.index import Index
from nestvec.progress import bar

if TYPE_CHECKING:
    from nestvec.adapt import Adapter
    from nestvec.adapt.compare import Comparison
    from nestvec.adapt.report import AtSize, FitReport
    from nestvec.adapt.training_data import Material as Rows
    from nestvec.statistics import Estimate

adapt = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Make the prefixes of frozen embeddings useful: fit, apply and compare adapters.",
)
_FIT_COLUMNS: Columns = {
    "dims": "right", "pca": "right", "adaptor": "right", "gain": "right", "95 %": "right",
}  # fmt: skip
_SIZES = (32, 64, 128, 256, 512)
_CONFIDENCE = 0.95


class Method(str, Enum):
    """What is fitted."""

    adaptor = "adaptor"
    neighbours = "neighbours"
    rotation = "rotation"
    pca = "pca"


_FOR_ALL_SIZES = (Method.neighbours, Method.pca)


class Side(str, Enum):
    """Which vectors are adapted."""

    documents = "documents"
    queries = "queries"


_Corpus = Annotated[
    Path, typer.Argument(help="Texts (.jsonl, .tsv, .csv, .txt), vectors (.npy, …), an index.")
]
_Qrels = Annotated[
    Path | None,
    typer.Option(metavar="TSV", help="Relevant documents: query-id, corpus-id, score."),
]
_Dims = Annotated[
    list[int] | None,
    typer.Option(metavar="N", help="Repeat for several; else 32, 64, … below the width."),
]


@adapt.command()
def fit(
    corpus: _Corpus,
    queries: Annotated[
        Path | None, typer.Argument(help="Queries of the same model, if there are some.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .safetensors file to write or replace.")
    ] = Path("adapter.safetensors"),
    method: Annotated[
        Method,
        typer.Option(
            help="adaptor: trained, and compared with PCA on held-out queries. "
            "neighbours: a closed form. rotation: trained, lossless. pca: lossless."
        ),
    ] = Method.adaptor,
    qrels: _Qrels = None,
    dims: _Dims = None,
    model: options.Maker = None,
    base_url: options.BaseUrl = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Equal input and seed give an equal adapter.")
    ] = 0,
    confidence: Annotated[
        float | None, typer.Option(help="How sure to be that an adaptor is better; else 0.95.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Keep an adaptor that was not shown to be better.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Fit an adapter to vectors, or to texts, which are encoded first, and write its file.

    With --qrels an adaptor also learns what people found relevant; keep other queries for compare.
    Without, it changes little; --method rotation goes further, and nothing is lost at full width.
    An adaptor that does not beat PCA on queries held out is not kept: the file then holds PCA.
    Training that was stopped goes on when the same command is given again. Vectors of texts are
    left beside the output.

    Examples:
      nestvec adapt fit corpus.npy -o adaptor.safetensors
      nestvec adapt fit corpus.jsonl queries.jsonl --qrels qrels/train.tsv --dims 32 --dims 64
      nestvec adapt fit corpus.npy --method rotation --dims 64 -o rotation.safetensors
    """
    from nestvec.transforms.files import check_place

    check_place(output)
    if method is not Method.adaptor:
        _refuse_training_options(method, queries, qrels, force, confidence, dims)
    given, asked = Sides(corpus, queries, model, base_url, output.parent).read_some()
    _check_raw(corpus, given)
    sizes = [] if method in _FOR_ALL_SIZES else _sizes(dims, given.vectors.shape[1])
    if method is not Method.adaptor:
        fitted = _fit_plain(method, given, sizes, seed)
    else:
        sure = _CONFIDENCE if confidence is None else confidence
        fitted = _fit_adaptor(given, asked, qrels, sizes, output, (seed, sure, force))
    fitted.save(output)
    report = getattr(fitted, "report", None)
    if json:
        told = None if report is None else {**report.to_json(), "said": report.said}
        facts = {"output": output, "kind": fitted.kind, "fingerprint": fitted.fingerprint}
        print_json({**facts, "dims": sizes, "lossless": fitted.lossless, "report": told})
        return
    if report is not None:
        _print_report(report)
    print_facts(
        {
            "adapter": f"{output}, {fitted.dim} dims, {fitted.fingerprint[:12]}",
            "next": f"nestvec index {corpus} -o corpus.nv --adapter {output}",
        }
    )


@adapt.command()
def apply(
    adapter: Annotated[Path, typer.Argument(help="A file that nestvec adapt fit wrote.")],
    vectors: Annotated[Path, typer.Argument(help="Vectors (.npy, .npz, .safetensors, …).")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The file to write. A .safetensors says what it went through; a .npy does not.",
        ),
    ],
    dims: Annotated[
        int | None, typer.Option(metavar="N", help="Keep so many, made of unit length.")
    ] = None,
    side: Annotated[Side, typer.Option(help="Which vectors these are.")] = Side.documents,
    key: options.Key = None,
    json: options.Json = False,
) -> None:
    """Adapt a file of vectors, block by block: it may be larger than memory.

    Examples:
      nestvec adapt apply adaptor.safetensors corpus.npy -o adapted.npy
      nestvec adapt apply adaptor.safetensors queries.npy --side queries -o queries.safetensors
      nestvec adapt apply adaptor.safetensors corpus.npy --dims 64 -o corpus64.npy
    """
    from nestvec.adapt import Adapter, Prefix
    from nestvec.encode import read_vectors
    from nestvec.transforms.base import check_kind

    used, given = Adapter.load(adapter), read_vectors(vectors, key)
    check_as_made(vectors, given.adapted_by)
    if given.ids is not None:
        note(f"the ids of {vectors} are not written; rows stay in their order")
    if side is Side.documents:
        check_kind(used, given.vectors)
    if dims is not None:
        used = used.then(Prefix(used.width, dims))
    used.transform_file(given.vectors, output, side=side.value, progress=bar)
    facts = {
        "output": output, "rows": len(given.vectors), "dim": used.width, "side": side.value,
        "adapter": used.fingerprint, "size_bytes": output.stat().st_size,
    }  # fmt: skip
    if json:
        print_json(facts)
        return
    print_facts(
        {
            "vectors": f"{output}, {facts['rows']:,} {side.value} of {used.width} dims as float32",
            "size": size(output.stat().st_size),
        }
    )


@adapt.command()
def compare(
    corpus: _Corpus,
    queries: Annotated[Path, typer.Argument(help="Queries that no adapter was fitted to.")],
    adapter: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Repeat for several.")
    ] = None,
    qrels: _Qrels = None,
    dims: _Dims = None,
    model: options.Maker = None,
    base_url: options.BaseUrl = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Equal input and seed give an equal result.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FOLDER", help="For comparison.json and .png."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Compare adapters with the plain prefix, a random rotation, PCA, and a learned rotation.

    nDCG@10 by --qrels, and overlap@10 with the full-width ranking; with intervals, and what each
    gains over PCA, query by query. Without --adapter an adaptor is fitted to the documents. Of more
    than 50,000 documents so many are drawn at random, besides the judged.

    Examples:
      nestvec adapt compare corpus.npy queries.npy --dims 32 --dims 64
      nestvec adapt compare corpus.jsonl queries.jsonl --qrels qrels/test.tsv -o comparison
    """
    from nestvec.adapt.compare import compare as run

    given, asked = Sides(corpus, queries, model, base_url, out).read()
    _check_raw(corpus, given)
    sizes = _sizes(dims, given.vectors.shape[1])
    material = _asked_material(given, asked, qrels, seed)
    methods = _methods(given, sizes, adapter or [], seed)
    done = run(methods, material, sizes, seed, bar)
    if out is None:
        forget(given, asked)
    else:
        _save(done, out)
    if json:
        print_json(done.to_json())
    else:
        _print_comparison(done)


def _check_raw(corpus: Path, given: Index | Material) -> None:
    """`InputError` for vectors that are not as their model made them."""
    if isinstance(given, Material):
        check_as_made(corpus, given.adapted_by)
    elif given.adapter is not None:
        raise InputError(
            f"the vectors of {given.path} went through an adapter already; give the file of "
            "vectors that it was built from"
        )


def _sizes(dims: list[int] | None, width: int) -> list[int]:
    return dims or [one for one in _SIZES if one < width] or [max(1, width // 2)]


def _refuse_training_options(
    method: Method,
    queries: Path | None,
    qrels: Path | None,
    force: bool,
    sure: float | None,
    dims: list[int] | None,
) -> None:
    """`InputError` for options that do nothing without held-out queries or sizes."""
    given = {"queries": queries, "--qrels": qrels, "--force": force}
    refuse(f"for --method {method.value}, which is fitted to the corpus alone", given)
    refuse(f"for --method {method.value}, which is compared with nothing", {"--confidence": sure})
    if method in _FOR_ALL_SIZES:
        refuse(f"for --method {method.value}, which is one for all sizes", {"--dims": dims})


def _fit_plain(method: Method, given: Index | Material, sizes: list[int], seed: int) -> "Adapter":
    from nestvec.adapt import Linear, Rotation

    if method is Method.pca:
        return Rotation.fit(given.vectors)
    if method is Method.neighbours:
        return Linear.fit_neighbours(given.vectors, seed=seed)
    return Rotation.learn(given.vectors, sizes, seed=seed, progress=bar)


def _fit_adaptor(
    given: Index | Material,
    asked: Material | None,
    qrels: Path | None,
    sizes: list[int],
    output: Path,
    how: tuple[int, float, bool],
) -> "Adapter":
    from nestvec.adapt import MatryoshkaAdaptor
    from nestvec.data import read_qrels

    ids, query_ids = ids_of(given), None if asked is None else ids_of(asked)
    named = ids if query_ids is None else query_ids
    pairs = None if qrels is None else read_qrels(qrels, named, ids)
    seed, confidence, force = how
    output.parent.mkdir(parents=True, exist_ok=True)
    return MatryoshkaAdaptor.fit(
        given.vectors, sizes, pairs,
        queries=None if asked is None else asked.vectors, ids=ids, query_ids=query_ids,
        seed=seed, confidence=confidence, force=force, checkpoint=f"{output}.checkpoint",
        told=lambda step, value: note(f"step {step}: {value:.4f} on held-out queries"),
        progress=bar,
    )  # fmt: skip


def _methods(
    given: Index | Material, sizes: list[int], files: list[Path], seed: int
) -> dict[str, "Adapter"]:
    from nestvec.adapt import Adapter, Linear, MatryoshkaAdaptor, Rotation
    from nestvec.adapt.compare import baselines
    from nestvec.adapt.training_data import Material as Rows

    vectors = given.vectors
    loaded = [(path, Adapter.load(path)) for path in files]  # said before minutes of training
    methods = baselines(Rows.read(vectors, seed=seed).documents, seed)
    methods["neighbours"] = Linear.fit_neighbours(vectors, seed=seed)
    try:
        methods["rotation"] = Rotation.learn(vectors, sizes, seed=seed, progress=bar)
        if not files:
            methods["adaptor"] = MatryoshkaAdaptor.fit(vectors, sizes, seed=seed, progress=bar)
    except MissingExtraError as e:
        note(f"warning: what is trained is left out: {e}")
    for path, adapter in loaded:
        methods[_name(path, methods)] = adapter
    return methods


def _name(path: Path, taken: Collection[str]) -> str:
    """As short as sets it apart: a file may be called pca, or as one in another folder."""
    names = (path.stem, path.name, str(path))
    free = next((name for name in names if name not in taken), None)
    if free is None:
        raise InputError(f"--adapter {path} is given twice; give each file once")
    return free


def _asked_material(
    given: Index | Material, asked: Material, qrels: Path | None, seed: int
) -> "Rows":
    from nestvec.adapt.training_data import Material as Rows
    from nestvec.data import read_qrels

    ids, query_ids = ids_of(given), ids_of(asked)
    if not query_ids:
        raise InputError("there are no queries to compare by; give some")
    judged = None if qrels is None else read_qrels(qrels, query_ids, ids)
    return Rows.read(given.vectors, judged, asked.vectors, ids, query_ids, seed)


def _save(done: "Comparison", folder: Path) -> None:
    from nestvec.adapt.chart import draw

    folder.mkdir(parents=True, exist_ok=True)
    text = as_json(done.to_json(), indent=1)
    (folder / "comparison.json").write_text(text + "\n", encoding="utf-8")
    draw(done, folder / "comparison.png")


def _print_report(report: "FitReport") -> None:
    print(report.said)
    print()
    print_table(_FIT_COLUMNS, [_fit_row(one) for one in (*report.sizes, report.full)])
    print(f"\n{report.metric}; {report.steps} steps, {report.seconds:,.1f} s")


def _fit_row(one: "AtSize") -> tuple[str, ...]:
    values = (f"{e.value:.4f}" for e in (one.rotation, one.adaptor))
    return (str(one.dims), *values, f"{one.gain.value:+.4f}", _interval(one.gain))


def _print_comparison(done: "Comparison") -> None:
    names = list(done.cells[0].metrics)
    columns: Columns = {"method": "left", "dims": "right", "B/vector": "right"}
    for name in names:
        columns = {**columns, name: "right", f"{name}, 95 %": "right", f"{name} − pca": "right"}
    rows = []
    for cell in sorted(done.cells, key=lambda cell: cell.dims):
        row = [cell.method, str(cell.dims), size(cell.bytes)]
        for name in names:
            found, gain = cell.metrics[name], cell.gains[name]
            row += [f"{found.value:.4f}", _interval(found), f"{gain.value:+.4f}"]
        rows.append(row)
    print_table(columns, rows)


def _interval(one: "Estimate") -> str:
    return f"{one.low:.3f} to {one.high:.3f}"
