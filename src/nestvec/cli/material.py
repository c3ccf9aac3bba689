"""What commands make indexes of: texts, which are encoded first, or vectors."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nestvec.cli.output import note
from nestvec.data import Columns, Corpus, read_columns_beside, read_texts
from nestvec.errors import DataError, InputError
from nestvec.inputs import ARRAYS, file_format, holds_vectors
from nestvec.progress import bar
from nestvec.shapes import Float

if TYPE_CHECKING:
    from nestvec.encode import Encoder


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Rows for an index."""

    vectors: Float[np.ndarray, "n dim"]
    ids: Sequence[Any] | np.ndarray | None
    texts: Sequence[str] | None
    metadata: Sequence[Mapping[str, Any]] | None
    model: Mapping[str, Any] | None
    encoded: Path | None = None
    """A file of vectors made on the way, to be removed when the index holds them."""
    adapted_by: str | None = None
    """The fingerprint of the adapter that the vectors went through, if their file says so."""


@dataclass(frozen=True, slots=True)
class Given:
    """A file as a command is given it, and how to read it."""

    data: Path
    texts: Path | None
    key: str | None
    text_column: list[str] | None
    id_column: str | None
    limit: int | None

    def read(
        self,
        beside: Path,
        made_by: Callable[[], dict[str, Any] | None],
        open_encoder: Callable[[], tuple["Encoder", dict[str, Any]]],
    ) -> Material:
        """The rows; texts are encoded into a file `beside` the index, by the encoder opened.

        `made_by` says which model made the rows of a file of vectors.
        """
        columns = (self.text_column or None, self.id_column)
        of_texts = {"--text-column": self.text_column, "--id-column": self.id_column}
        beside_vectors = None if self.texts else self.text_column
        if not holds_vectors(self.data, self.key, beside_vectors):
            refuse(f"for the texts in {self.data}; it is for vectors", {"--texts": self.texts})
            corpus = read_to_encode(self.data, *columns, self.limit)
            return _from_texts(corpus, beside, *open_encoder())
        if self.texts is None and file_format(self.data) in ARRAYS:
            refuse("without --texts", of_texts)
        return _from_vectors(self.data, self.key, self.texts, columns, made_by(), self.limit)


def read_to_encode(
    path: Path,
    text_columns: list[str] | None = None,
    id_column: str | None = None,
    limit: int | None = None,
) -> Corpus:
    """The texts of a file that are about to be encoded.

    `DataError` for texts that have vectors beside them, unless `text_columns` names the texts.
    """
    if text_columns and holds_vectors(path):
        note(f"the vectors in {path} are not used, since --text-column asks for its texts")
    return read_texts(path, text_columns, id_column, limit, refuse_vectors=not text_columns)


def refuse(why: str, given: Mapping[str, object]) -> None:
    """Raise for options that would do nothing."""
    names = [name for name, value in given.items() if value]
    if names:
        raise InputError(f"{' and '.join(names)} given {why}; leave it out")


def check_as_made(path: Path, adapted_by: str | None) -> None:
    """`InputError` for vectors that an adapter would map a second time, and wrongly."""
    if adapted_by is not None:
        raise InputError(
            f"{path} went through the adapter {adapted_by[:12]} already; give vectors as the model "
            "made them"
        )


def _from_texts(
    corpus: Corpus, beside: Path, encoder: "Encoder", facts: dict[str, Any]
) -> Material:
    """The texts' vectors in a file beside the index, taken up where an earlier run stopped."""
    from nestvec.encode import encode_to_file, read_vectors

    # The name tells the work, so that a finished file is never taken for that of other texts.
    work = hashlib.sha256(json.dumps([facts, corpus.texts]).encode()).hexdigest()[:12]
    path = beside.with_name(f"{beside.name}.vectors-{work}.npy")
    if not path.exists():
        encode_to_file(encoder, corpus.texts, path, progress=bar)
    vectors = read_vectors(path).vectors
    return Material(vectors, corpus.ids, corpus.texts, corpus.metadata, facts, path)


def _from_vectors(
    path: Path,
    key: str | None,
    texts: Path | None,
    columns: tuple[list[str] | None, str | None],
    model: Mapping[str, Any] | None,
    limit: int | None,
) -> Material:
    from nestvec.encode import read_vectors

    given = read_vectors(path, key)
    vectors = given.vectors[:limit]
    made_by = None if model is None else {**model, "dim": vectors.shape[1]}
    ids = None if given.ids is None else given.ids[:limit].tolist()
    if texts is None:
        held = columns_beside(path, key, columns, limit)
        if ids is None or columns[1] is not None:
            ids = held.ids
        by = given.adapted_by
        return Material(vectors, ids, held.texts, held.metadata, made_by, adapted_by=by)
    corpus = read_texts(texts, *columns, limit=limit)
    agreed = _agree(ids, corpus, path, texts)
    return Material(
        vectors, agreed, corpus.texts, corpus.metadata, made_by, adapted_by=given.adapted_by
    )


def columns_beside(
    path: Path,
    key: str | None,
    columns: tuple[list[str] | None, str | None] = (None, None),
    limit: int | None = None,
) -> Columns:
    """The ids, texts and metadata of records with vectors; none for files of arrays."""
    if file_format(path) in ARRAYS:
        return Columns(None, None, None)
    return read_columns_beside(path, key, *columns, limit)


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
