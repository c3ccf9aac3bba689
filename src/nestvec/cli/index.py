"""`nestvec index`: texts or vectors to an index."""

import hashlib
import json as json_
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from nestvec.cli import options
from nestvec.cli.output import print_facts, print_json, size
from nestvec.data import Corpus, read_texts
from nestvec.errors import DataError, InputError, StorageError
from nestvec.index import Index
from nestvec.progress import bar
from nestvec.shapes import Float


class Rotation(str, Enum):
    """How the dimensions are ordered."""

    pca = "pca"
    none = "none"


@dataclass(frozen=True, slots=True, eq=False)
class _Material:
    """What an index is built from."""

    vectors: Float[np.ndarray, "n dim"]
    ids: Sequence[Any] | np.ndarray | None
    texts: Sequence[str] | None
    metadata: Sequence[Mapping[str, Any]] | None
    model: Mapping[str, Any] | None
    encoded: Path | None = None
    """A file of vectors made on the way, to be removed when the index holds them."""


_Data = Annotated[
    Path,
    typer.Argument(
        help="Texts (.jsonl, .tsv, .csv, .txt, also .gz), which are encoded first, or vectors "
        "(.npy, .npz, .safetensors, .parquet, .jsonl)."
    ),
]
_Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="minilm (the default for texts), a name or folder, or openai:MODEL. For vectors: "
        "the model that made them, so that search can encode texts.",
    ),
]
_Texts = Annotated[
    Path | None, typer.Option(metavar="FILE", help="For vectors: their texts, row by row.")
]
_Rotation = Annotated[
    Rotation, typer.Option(help="none keeps the model's own order, for models trained nested.")
]


def index(
    data: _Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="The index folder to write.")],
    model: _Model = None,
    dimensions: options.Dimensions = None,
    base_url: options.BaseUrl = None,
    texts: _Texts = None,
    key: options.Key = None,
    text_column: options.TextColumn = None,
    id_column: options.IdColumn = None,
    rotation: _Rotation = Rotation.pca,
    bits: Annotated[float, typer.Option(help="Code bits per dimension, on average.")] = 2.0,
    seed: Annotated[int, typer.Option(help="Equal input and seed give an equal index.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    limit: options.Limit = None,
    json: options.Json = False,
) -> None:
    """Build a searchable index from texts or from vectors.

    The index records its model, so that search can encode questions with it. Encoding that was
    stopped in the middle goes on where it was when the same command is given again.

    Examples:
      nestvec index corpus.jsonl -o corpus.nv
      nestvec index papers.csv -o papers.nv --text-column abstract --id-column doi
      nestvec index vectors.npy -o corpus.nv --texts corpus.jsonl --model minilm
    """
    if output.exists() and not overwrite:
        # Said before an hour of encoding, not after it.
        raise StorageError(f"{output} exists; choose another path or pass --overwrite")
    start = time.perf_counter()
    if _holds_vectors(data):
        if texts is None:
            _refuse("without --texts", {"--text-column": text_column, "--id-column": id_column})
        _refuse("for vectors, which are not encoded again", {"--base-url": base_url})
        columns = (text_column or None, id_column)
        material = _from_vectors(data, key, texts, columns, _made_by(model, dimensions), limit)
    else:
        _refuse(f"for the texts in {data}; they are for vectors", {"--texts": texts, "--key": key})
        corpus = read_texts(data, text_column or None, id_column, limit)
        material = _from_texts(corpus, output, model, base_url, dimensions)
    built = Index.build(
        material.vectors,
        output,
        ids=material.ids,
        texts=material.texts,
        metadata=material.metadata,
        rotation=rotation.value,
        bits=bits,
        seed=seed,
        model=material.model,
        overwrite=overwrite,
        progress=bar,
    )
    if material.encoded is not None:
        material.encoded.unlink()
    _report(built, time.perf_counter() - start, json)


def _refuse(why: str, given: Mapping[str, object]) -> None:
    """Raise for options that would do nothing."""
    names = [name for name, value in given.items() if value]
    if names:
        raise InputError(f"{' and '.join(names)} given {why}; leave it out")


def _holds_vectors(path: Path) -> bool:
    """Whether a file is one of vectors: by its name, and for .jsonl by its first record."""
    if path.suffix.lower() != ".jsonl":
        return path.suffix.lower() in (".npy", ".npz", ".safetensors", ".parquet")
    from nestvec.encode.files import VECTOR_FIELDS

    try:
        with path.open(encoding="utf-8") as lines:
            first = json_.loads(next((line for line in lines if line.strip()), "null"))
    except (OSError, ValueError):
        return False  # the reader of texts says what is wrong
    return isinstance(first, dict) and any(isinstance(first.get(f), list) for f in VECTOR_FIELDS)


def _from_texts(
    corpus: Corpus, output: Path, model: str | None, base_url: str | None, dimensions: int | None
) -> _Material:
    """The texts' vectors in a file beside the index, taken up where an earlier run stopped."""
    from nestvec.cli.model import DEFAULT, describe, open_model
    from nestvec.encode import encode_to_file, read_vectors

    encoder = open_model(model or DEFAULT, base_url, dimensions)
    facts = describe(encoder, dimensions)
    # The name tells the work, so that a finished file is never taken for that of other texts.
    work = hashlib.sha256(json_.dumps([facts, corpus.texts]).encode()).hexdigest()[:12]
    path = output.with_name(f"{output.name}.vectors-{work}.npy")
    if not path.exists():
        encode_to_file(encoder, corpus.texts, path, progress=bar)
    vectors = read_vectors(path).vectors
    return _Material(vectors, corpus.ids, corpus.texts, corpus.metadata, facts, path)


def _made_by(model: str | None, dimensions: int | None) -> dict[str, Any] | None:
    """What is known of the model that made vectors elsewhere."""
    if model is None:
        _refuse("without --model", {"--dimensions": dimensions})
        return None
    facts: dict[str, Any] = {"name": model, "revision": None}
    return facts if dimensions is None else {**facts, "dimensions": dimensions}


def _from_vectors(
    path: Path,
    key: str | None,
    texts: Path | None,
    columns: tuple[list[str] | None, str | None],
    model: Mapping[str, Any] | None,
    limit: int | None,
) -> _Material:
    from nestvec.encode import read_vectors

    given = read_vectors(path, key)
    vectors = given.vectors[:limit]
    made_by = None if model is None else {**model, "dim": vectors.shape[1]}
    ids = None if given.ids is None else given.ids[:limit].tolist()
    if texts is None:
        return _Material(vectors, ids, None, None, made_by)
    corpus = read_texts(texts, *columns, limit=limit)
    agreed = _agree(ids, corpus, path, texts)
    return _Material(vectors, agreed, corpus.texts, corpus.metadata, made_by)


def _agree(ids: list[Any] | None, corpus: Corpus, path: Path, texts: Path) -> Sequence[Any]:
    """The ids of the vectors and of their texts, which must be the same where both have some."""
    if ids is None or ids == list(corpus.ids):
        return corpus.ids
    if corpus.ids == tuple(range(len(corpus))):  # row numbers: the texts have no ids
        return ids
    if len(ids) != len(corpus):
        raise DataError(
            f"{path} has {len(ids)} rows but {texts} has {len(corpus)}; give one text per vector"
        )
    row = next(i for i, (a, b) in enumerate(zip(ids, corpus.ids, strict=True)) if a != b)
    raise DataError(
        f"row {row} has id {ids[row]!r} in {path} but {corpus.ids[row]!r} in {texts}; "
        "bring both files into the same order"
    )


def _report(built: Index, seconds: float, json: bool) -> None:
    facts = {
        "index": built.path,
        "rows": len(built),
        "dim": built.dim,
        "hot_bytes": built.hot_bytes,
        "seconds": round(seconds, 3),
        "model": built.meta["model"],
        "default_plan": str(built.default_plan(max(1, min(10, len(built))))),
    }
    if json:
        print_json(facts)
        return
    print_facts(
        {
            "index": f"{built.path}, {len(built):,} rows of {built.dim} dims",
            "at hand": f"{size(built.hot_bytes)} of codes, cells and ids; vectors on disk",
            "plan": str(facts["default_plan"]),
            "time": f"{seconds:,.1f} s",
            "next": f'nestvec search {built.path} "your question"'
            if built.meta["model"]
            else f"nestvec search {built.path} --vectors queries.npy",
        }
    )
