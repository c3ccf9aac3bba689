"""`nestvec index`: texts or vectors to an index."""

import time
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestvec.cli import options
from nestvec.cli.model import headers_of, open_model, record_of_options
from nestvec.cli.output import print_facts, print_json, short_path, size
from nestvec.collections.checks import check_records
from nestvec.collections.encoders import model_record
from nestvec.collections.input_rows import InputFile, InputRows, check_not_transformed
from nestvec.encode.registry import EncoderOptions
from nestvec.errors import StorageError
from nestvec.index import Index
from nestvec.index.storage.target import check_target
from nestvec.inputs.column_roles import ColumnChoice
from nestvec.plurals import count_of
from nestvec.progress import bar

if TYPE_CHECKING:
    from nestvec.adapt import Transform
    from nestvec.encode import Encoder


class RotationOption(str, Enum):
    """The order of dimensions."""

    pca = "pca"
    none = "none"


class MetricOption(str, Enum):
    """The score of a search."""

    ip = "ip"
    cosine = "cosine"
    euclidean = "euclidean"


_Metric = Annotated[
    MetricOption,
    typer.Option(
        help="ip is the inner product, cosine scales vectors and queries to unit length, euclidean "
        "scores −|q − x|²."
    ),
]
_Rotation = Annotated[
    RotationOption,
    typer.Option(help="none keeps the model's own order, for models trained nested."),
]


def index(
    data: options.Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="The index folder to write.")],
    model: options.Maker = None,
    dims: options.EncodedDims = None,
    dimensions: options.Dimensions = None,
    base_url: options.BaseUrl = None,
    query_prompt: options.QueryPrompt = None,
    document_prompt: options.DocumentPrompt = None,
    texts: options.Texts = None,
    key: options.Key = None,
    text_column: options.TextColumn = None,
    id_column: options.IdColumn = None,
    metadata_columns: options.MetadataColumns = None,
    packed_bits: options.PackedBits = False,
    transform: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Vectors and queries go through it: nestvec adapt fit."),
    ] = None,
    metric: _Metric = MetricOption.ip,
    rotation: _Rotation = RotationOption.pca,
    bits: Annotated[float, typer.Option(help="Code bits per dimension, on average.")] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Equal input and seed give an equal index.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    limit: options.Limit = None,
    batch_size: options.BatchSize = None,
    requests: options.Requests = None,
    on_bad_text: options.OnBadText = options.OnBadTextOption.fail,
    revision: options.Revision = None,
    trust_remote_code: options.TrustRemoteCode = False,
    header: options.Header = None,
    json: options.Json = False,
) -> None:
    """Build a searchable index from texts or from vectors.

    The index records its model, so that search can encode queries with it. Encoding that was
    stopped in the middle resumes when the same command is run again.

    Examples:
      nestvec index corpus.jsonl -o corpus.nv
      nestvec index papers.csv -o papers.nv --text-column abstract --id-column doi
      nestvec index corpus.jsonl -o corpus.nv --model nomic-ai/nomic-embed-text-v1.5 --dims 256
      nestvec index vectors.npy -o corpus.nv --texts corpus.jsonl --model minilm
      nestvec index vectors.npy -o corpus.nv --transform adaptor.safetensors
    """
    if output.exists() and not overwrite:
        # Checked here too, because encoding may take an hour.
        raise StorageError(f"{output} exists; choose another path or pass --overwrite")
    check_target(output, overwrite)
    start, loaded = time.perf_counter(), _load(transform)
    columns = ColumnChoice(text_column, id_column, metadata_columns)
    input_file = InputFile(
        data, texts, key, columns, limit, "document", on_bad_text.value, dims,
        lambda corpus: check_records(corpus.ids, corpus.texts, corpus.metadata),
        packed_bits=packed_bits,
    )  # fmt: skip
    of_encoder = EncoderOptions(
        dims=dims, query_prompt=query_prompt, document_prompt=document_prompt,
        batch_size=batch_size, requests=requests, revision=revision,
        trust_remote_code=trust_remote_code, headers=headers_of(header),
    )  # fmt: skip

    def encoder() -> "tuple[Encoder, dict[str, Any]]":
        opened = open_model(model, base_url, dimensions, of_encoder)
        return opened, model_record(opened, dimensions)

    def vector_model() -> dict[str, Any] | None:
        return record_of_options(model, base_url, dimensions, of_encoder)

    rows = input_file.load(output, vector_model, encoder, bar)
    if loaded is not None:
        check_not_transformed(data, rows.adapted_by)
    built = Index.build(
        rows.vectors,
        output,
        ids=rows.ids,
        texts=rows.texts,
        metadata=rows.metadata,
        transform=loaded,
        metric=metric.value,
        rotation=rotation.value,
        bits=bits,
        seed=seed,
        columns=None if rows.roles is None else columns.record(rows.roles),
        model=rows.model,
        overwrite=overwrite,
        progress=bar,
    )
    if rows.encoded is not None:
        rows.encoded.unlink()
    _report(built, rows, time.perf_counter() - start, json)


def _load(path: Path | None) -> "Transform | None":
    """Load a transform; this comes before encoding, so that an unusable file is refused at once."""
    if path is None:
        return None
    from nestvec.adapt import Transform

    return Transform.load(path)


def _report(built: Index, rows: InputRows, duration_s: float, json: bool) -> None:
    facts = {
        "index": built.path,
        "rows": len(built),
        "dim": built.dim,
        "columns": rows.roles and asdict(rows.roles),
        "adapter": built.transform and built.transform.fingerprint,
        "hot_bytes": built.hot_bytes,
        "duration_s": round(duration_s, 3),
        "model": built.meta["model"],
        "default_plan": str(built.default_plan(max(1, min(10, len(built))))),
        "default_recall": built.default_recall and built.default_recall.value,
    }
    if json:
        print_json(facts)
        return
    print_facts(
        {
            "index": f"{short_path(built.path)}, {count_of(len(built), 'row')} of "
            f"{count_of(built.dim, 'dim')}",
            "columns": _columns_text(rows),
            "hot bytes": f"{size(built.hot_bytes)} of codes and cells; vectors on disk",
            "plan": str(facts["default_plan"]),
            "recall": str(built.default_recall or "not measured on fewer than 1,000 rows"),
            "time": f"{duration_s:,.1f} s",
            "next": f'nestvec search {short_path(built.path)} "your question"'
            if built.meta["model"]
            else f"nestvec search {short_path(built.path)} --vectors queries.npy",
        }
    )


def _columns_text(rows: InputRows) -> str:
    if rows.roles is not None:
        return str(rows.roles)
    ids = "ids are row numbers" if rows.ids is None else "ids of the file"
    return f"no text; {ids}; no metadata"
