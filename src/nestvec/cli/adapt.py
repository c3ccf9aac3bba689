"""`nestvec adapt`: fit, apply and compare transforms."""

from collections.abc import Collection
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from nestvec.cli import options
from nestvec.cli.model import encoder_choice, encoder_options
from nestvec.cli.output import Columns, as_json, note, print_facts, print_json, print_table, size
from nestvec.cli.renamed import choices, renamed_choices
from nestvec.collections.corpus_and_queries import CorpusAndQueries, ids_of, remove_encoded
from nestvec.collections.input_rows import InputRows, check_not_transformed, reject_unused
from nestvec.errors import InputError, MissingExtraError
from nestvec.index import Index
from nestvec.plurals import count_of
from nestvec.progress import bar

if TYPE_CHECKING:
    from nestvec.adapt import Transform
    from nestvec.adapt.compare import Comparison
    from nestvec.adapt.report import FitReport, ScoresAtDims
    from nestvec.adapt.training_data import TrainingData
    from nestvec.statistics import Estimate

adapt = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Make the prefixes of frozen embeddings useful: fit, apply and compare transforms.",
)
_FIT_COLUMNS: Columns = {
    "dims": "right", "pca": "right", "adaptor": "right", "gain": "right", "95 %": "right",
}  # fmt: skip
_DEFAULT_DIMS = (32, 64, 128, 256, 512)
_CONFIDENCE = 0.95


class Method(str, Enum):
    """The kinds of transform that can be fitted."""

    adaptor = "adaptor"
    neighbour_whitening = "neighbour-whitening"
    rotation = "rotation"
    pca = "pca"


_FOR_ALL_DIMS = (Method.neighbour_whitening, Method.pca)


class Side(str, Enum):
    """The side of a search that vectors are of."""

    documents = "documents"
    queries = "queries"


class _FitOptions(NamedTuple):
    seed: int
    confidence: float
    force: bool


_Corpus = Annotated[
    Path, typer.Argument(help="Texts (.jsonl, .tsv, .csv, .txt), vectors (.npy, …), an index.")
]
_Method = Annotated[
    Method,
    typer.Option(
        parser=renamed_choices("--method", Method, {"neighbours": "neighbour-whitening"}),
        metavar=choices(Method),
        help="adaptor: trained, and compared with PCA on held-out queries. "
        "neighbour-whitening: a closed form. rotation: trained, lossless. pca: lossless.",
    ),
]
_Qrels = Annotated[
    Path | None,
    typer.Option(metavar="TSV", help="Relevance judgments: query-id, corpus-id, score."),
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
    method: _Method = Method.adaptor,
    qrels: _Qrels = None,
    dims: _Dims = None,
    model: options.Maker = None,
    base_url: options.BaseUrl = None,
    query_prompt: options.QueryPrompt = None,
    document_prompt: options.DocumentPrompt = None,
    trust_remote_code: options.TrustRemoteCode = False,
    header: options.Header = None,
    key: options.Key = None,
    text_column: options.TextColumn = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Equal input and seed give an equal transform.")
    ] = 0,
    confidence: Annotated[
        float | None, typer.Option(help="Confidence that an adaptor is better; else 0.95.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Take an adaptor that was not shown to be better.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Fit a transform to vectors, or to texts, which are encoded first, and write its file.

    With --qrels an adaptor also learns relevance judgments; hold other queries out for compare.
    Without, it changes little; --method rotation goes further, and loses nothing at full width. If
    an adaptor does not beat PCA on held-out queries, the file holds PCA.
    After an interruption the same command resumes the training, without encoding texts again.

    Examples:
      nestvec adapt fit corpus.npy -o adaptor.safetensors
      nestvec adapt fit corpus.jsonl queries.jsonl --qrels qrels/train.tsv --dims 32 --dims 64
      nestvec adapt fit corpus.npy --method rotation --dims 64 -o rotation.safetensors
    """
    from nestvec.transforms.files import check_place

    check_place(output)
    if method is not Method.adaptor:
        _refuse_training_options(method, queries, qrels, force, confidence, dims)
    of_encoder = encoder_options(query_prompt, document_prompt, trust_remote_code, header)
    encoder = encoder_choice(model, base_url, of_encoder)
    files = CorpusAndQueries(corpus, queries, encoder, output.parent, bar, key, text_column)
    documents, query_rows = files.load_optional()
    _check_raw(corpus, documents)
    widths = [] if method in _FOR_ALL_DIMS else _widths(dims, documents.vectors.shape[1])
    if method is not Method.adaptor:
        fitted = _fit_plain(method, documents, widths, seed)
    else:
        fit_options = _FitOptions(seed, _CONFIDENCE if confidence is None else confidence, force)
        fitted = _fit_adaptor(documents, query_rows, qrels, widths, output, fit_options)
    fitted.save(output)
    _print_fitted(fitted, corpus, output, widths, json)


def _print_fitted(
    fitted: "Transform", corpus: Path, output: Path, widths: list[int], json: bool
) -> None:
    report: FitReport | None = getattr(fitted, "report", None)
    if json:
        scores = None if report is None else {**report.to_json(), "summary": report.summary}
        facts = {"output": output, "kind": fitted.kind, "fingerprint": fitted.fingerprint}
        lossless = fitted.preserves_inner_products
        print_json({**facts, "dims": widths, "lossless": lossless, "report": scores})
        return
    if report is not None:
        _print_report(report)
    print_facts(
        {
            "transform": f"{output}, {fitted.dim} dims, {fitted.fingerprint[:12]}",
            "next": f"nestvec index {corpus} -o corpus.nv --transform {output}",
        }
    )


@adapt.command()
def apply(
    transform: Annotated[Path, typer.Argument(help="A file that nestvec adapt fit wrote.")],
    vectors: Annotated[Path, typer.Argument(help="Vectors (.npy, .npz, .safetensors, …).")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The file to write. A .safetensors records the transform; a .npy cannot.",
        ),
    ],
    dims: Annotated[
        int | None, typer.Option(metavar="N", help="Truncate to so many, of unit length.")
    ] = None,
    side: Annotated[Side, typer.Option(help="The side that the vectors are of.")] = Side.documents,
    key: options.Key = None,
    json: options.Json = False,
) -> None:
    """Transform a file of vectors, block by block: it may be larger than memory.

    Examples:
      nestvec adapt apply adaptor.safetensors corpus.npy -o adapted.npy
      nestvec adapt apply adaptor.safetensors queries.npy --side queries -o queries.safetensors
      nestvec adapt apply adaptor.safetensors corpus.npy --dims 64 -o corpus64.npy
    """
    from nestvec.adapt import Prefix, Transform
    from nestvec.encode import read_vectors
    from nestvec.transforms.base import check_same_model

    loaded, vector_file = Transform.load(transform), read_vectors(vectors, key)
    check_not_transformed(vectors, vector_file.adapted_by)
    if vector_file.ids is not None:
        note(f"the ids of {vectors} are not written; rows stay in their order")
    if side is Side.documents:
        check_same_model(loaded, vector_file.vectors)
    if dims is not None:
        loaded = loaded.compose(Prefix(loaded.width, dims))
    loaded.transform_file(vector_file.vectors, output, side=side.value, progress=bar)
    n_rows, size_bytes = len(vector_file.vectors), output.stat().st_size
    if json:
        print_json(
            {
                "output": output, "rows": n_rows, "dim": loaded.width, "side": side.value,
                "transform": loaded.fingerprint, "size_bytes": size_bytes,
            }
        )  # fmt: skip
        return
    print_facts(
        {
            "vectors": f"{output}, {n_rows:,} {side.value} of {loaded.width} dims as float32",
            "size": size(size_bytes),
        }
    )


@adapt.command()
def compare(
    corpus: _Corpus,
    queries: Annotated[Path, typer.Argument(help="Queries that no transform was fitted to.")],
    transform: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Repeat for several.")
    ] = None,
    qrels: _Qrels = None,
    dims: _Dims = None,
    model: options.Maker = None,
    base_url: options.BaseUrl = None,
    query_prompt: options.QueryPrompt = None,
    document_prompt: options.DocumentPrompt = None,
    trust_remote_code: options.TrustRemoteCode = False,
    header: options.Header = None,
    key: options.Key = None,
    text_column: options.TextColumn = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Equal input and seed give an equal result.")
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="For comparison.json and .png."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Compare transforms with the plain prefix, a random rotation, PCA, and a learned rotation.

    Metrics are nDCG@10 by --qrels, and overlap@10 with the full-width ranking, with intervals and
    the gain over PCA, query by query. Without --transform an adaptor is fitted to the documents. Of
    more than 50,000 documents so many are drawn at random, with all that --qrels names.

    Examples:
      nestvec adapt compare corpus.npy queries.npy --dims 32 --dims 64
      nestvec adapt compare corpus.jsonl queries.jsonl --qrels qrels/test.tsv -o comparison
    """
    from nestvec.adapt.compare import compare as compare_transforms

    of_encoder = encoder_options(query_prompt, document_prompt, trust_remote_code, header)
    encoder = encoder_choice(model, base_url, of_encoder)
    files = CorpusAndQueries(corpus, queries, encoder, output, bar, key, text_column)
    documents, query_rows = files.load()
    _check_raw(corpus, documents)
    widths = _widths(dims, documents.vectors.shape[1])
    data = _comparison_data(documents, query_rows, qrels, seed)
    methods = _methods(documents, widths, transform or [], seed)
    comparison = compare_transforms(methods, data, widths, seed, bar)
    if output is None:
        remove_encoded(documents, query_rows)
    else:
        _save(comparison, output)
    if json:
        print_json(comparison.to_json())
    else:
        _print_comparison(comparison)


def _check_raw(corpus: Path, documents: Index | InputRows) -> None:
    """Refuse vectors that went through a transform already: `InputError`."""
    if isinstance(documents, InputRows):
        check_not_transformed(corpus, documents.adapted_by)
    elif documents.transform is not None:
        raise InputError(
            f"the vectors of {documents.path} went through a transform already; give the file of "
            "vectors that the index was built from"
        )


def _widths(dims: list[int] | None, dim: int) -> list[int]:
    return dims or [width for width in _DEFAULT_DIMS if width < dim] or [max(1, dim // 2)]


def _refuse_training_options(
    method: Method,
    queries: Path | None,
    qrels: Path | None,
    force: bool,
    confidence: float | None,
    dims: list[int] | None,
) -> None:
    """Refuse options that do nothing without held-out queries or dims: `InputError`."""
    for_queries = {"queries": queries, "--qrels": qrels, "--force": force}
    reject_unused(f"for --method {method.value}, which is fitted to the corpus alone", for_queries)
    reject_unused(
        f"for --method {method.value}, which is compared with nothing",
        {"--confidence": confidence},
    )
    if method in _FOR_ALL_DIMS:
        reason = f"for --method {method.value}, which is the same for all dims"
        reject_unused(reason, {"--dims": dims})


def _fit_plain(
    method: Method, documents: Index | InputRows, widths: list[int], seed: int
) -> "Transform":
    from nestvec.adapt import Linear, Rotation

    if method is Method.pca:
        return Rotation.fit(documents.vectors)
    if method is Method.neighbour_whitening:
        return Linear.fit_neighbour_whitening(documents.vectors, seed=seed)
    return Rotation.learn(documents.vectors, widths, seed=seed, progress=bar)


def _fit_adaptor(
    documents: Index | InputRows,
    queries: InputRows | None,
    qrels: Path | None,
    widths: list[int],
    output: Path,
    fit_options: _FitOptions,
) -> "Transform":
    from nestvec.adapt import MatryoshkaAdaptor
    from nestvec.data import read_qrels

    ids, query_ids = ids_of(documents), None if queries is None else ids_of(queries)
    ids_of_queries = ids if query_ids is None else query_ids
    pairs = None if qrels is None else read_qrels(qrels, ids_of_queries, ids)
    output.parent.mkdir(parents=True, exist_ok=True)
    return MatryoshkaAdaptor.fit(
        documents.vectors, widths, pairs,
        queries=None if queries is None else queries.vectors, ids=ids, query_ids=query_ids,
        **fit_options._asdict(), checkpoint=f"{output}.checkpoint",
        on_evaluation=lambda step, score: note(f"step {step}: {score:.4f} on held-out queries"),
        progress=bar,
    )  # fmt: skip


def _methods(
    documents: Index | InputRows, widths: list[int], files: list[Path], seed: int
) -> dict[str, "Transform"]:
    from nestvec.adapt import Linear, MatryoshkaAdaptor, Rotation, Transform
    from nestvec.adapt.compare import baselines
    from nestvec.adapt.training_data import TrainingData

    vectors = documents.vectors
    loaded = [(path, Transform.load(path)) for path in files]  # errors before minutes of training
    methods = baselines(TrainingData.read(vectors, seed=seed).documents, seed)
    methods["neighbour whitening"] = Linear.fit_neighbour_whitening(vectors, seed=seed)
    try:
        methods["rotation"] = Rotation.learn(vectors, widths, seed=seed, progress=bar)
        if not files:
            methods["adaptor"] = MatryoshkaAdaptor.fit(vectors, widths, seed=seed, progress=bar)
    except MissingExtraError as e:
        note(f"warning: methods that need training are left out: {e}")
    for path, transform in loaded:
        methods[_method_name(path, methods)] = transform
    return methods


def _method_name(path: Path, taken: Collection[str]) -> str:
    """Name a transform by the shortest form of its path that no other method has as its name."""
    names = (path.stem, path.name, str(path))
    free = next((name for name in names if name not in taken), None)
    if free is None:
        raise InputError(f"--transform {path} appears twice; give each file once")
    return free


def _comparison_data(
    documents: Index | InputRows, queries: InputRows, qrels: Path | None, seed: int
) -> "TrainingData":
    from nestvec.adapt.training_data import TrainingData
    from nestvec.data import read_qrels

    ids, query_ids = ids_of(documents), ids_of(queries)
    if not query_ids:
        raise InputError("there are no queries to compare by; give some")
    pairs = None if qrels is None else read_qrels(qrels, query_ids, ids)
    return TrainingData.read(documents.vectors, pairs, queries.vectors, ids, query_ids, seed)


def _save(comparison: "Comparison", folder: Path) -> None:
    from nestvec.adapt.chart import draw_comparison

    folder.mkdir(parents=True, exist_ok=True)
    text = as_json(comparison.to_json(), indent=1)
    (folder / "comparison.json").write_text(text + "\n", encoding="utf-8")
    draw_comparison(comparison, folder / "comparison.png")


def _print_report(report: "FitReport") -> None:
    print(report.summary)
    print()
    rows = [_report_row(scores) for scores in (*report.at_dims, report.at_full_width)]
    print_table(_FIT_COLUMNS, rows)
    print(f"\n{report.metric}; {count_of(report.steps, 'step')}, {report.duration_s:,.1f} s")


def _report_row(scores: "ScoresAtDims") -> tuple[str, ...]:
    values = (f"{estimate.value:.4f}" for estimate in (scores.pca, scores.adaptor))
    gain = scores.gain
    return (str(scores.dims), *values, f"{gain.value:+.4f}", _format_interval(gain))


def _print_comparison(comparison: "Comparison") -> None:
    metrics = list(comparison.cells[0].metrics)
    columns: Columns = {"method": "left", "dims": "right", "B/vector": "right"}
    for metric in metrics:
        columns = {
            **columns, metric: "right", f"{metric}, 95 %": "right", f"{metric} − pca": "right",
        }  # fmt: skip
    rows = []
    for cell in sorted(comparison.cells, key=lambda cell: cell.dims):
        row = [cell.method, str(cell.dims), size(cell.size_bytes)]
        for metric in metrics:
            score, gain = cell.metrics[metric], cell.gains[metric]
            row += [f"{score.value:.4f}", _format_interval(score), f"{gain.value:+.4f}"]
        rows.append(row)
    print_table(columns, rows)


def _format_interval(estimate: "Estimate") -> str:
    return f"{estimate.low:.3f} to {estimate.high:.3f}"
