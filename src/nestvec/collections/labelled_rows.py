"""Labelled rows for classifiers from files: vectors or texts, with columns beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nestvec.collections.input_rows import columns_beside, read_texts_to_encode, reject_unused
from nestvec.data import read_texts
from nestvec.encode.encoder import encode_plain
from nestvec.errors import DataError, InputError
from nestvec.inputs import ARRAYS, file_format, holds_vectors
from nestvec.inputs.column_roles import ColumnChoice
from nestvec.progress import Progress, silent
from nestvec.shapes import Float

if TYPE_CHECKING:
    from nestvec.encode import Encoder, VectorFile

VectorModel = Callable[[], dict[str, Any] | None]
"""Function that returns the record of the model of a file of vectors."""
Opener = Callable[[], tuple["Encoder", dict[str, Any]]]
"""Function that opens the encoder of texts, and returns it with its record."""


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Rows of a file: vectors with ids, texts, metadata and the record of their model."""

    vectors: Float[np.ndarray, "n dim"]
    ids: Sequence[Any]
    texts: Sequence[str] | None
    metadata: Sequence[Mapping[str, Any]]
    model: dict[str, Any] | None

    def column(self, name: str) -> list[str | int]:
        """Return the value of a column for each row."""
        missing = next((i for i, row in enumerate(self.metadata) if name not in row), None)
        if missing is not None:
            raise DataError(f"row {missing} has no column {name!r}; name the column with --label")
        return [row[name] for row in self.metadata]


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """An input file of labelled rows, and the options to read it by."""

    data: Path
    texts: Path | None
    only: list[str] | None
    text_column: list[str] | None = None
    key: str | None = None
    progress: Progress = silent

    def load(self, vector_model: VectorModel, open_encoder: Opener) -> LabelledRows:
        """Load the rows that match `only`; their texts, and no others, are encoded."""
        if holds_vectors(self.data, self.key, None if self.texts else self.text_column):
            return self._from_vectors(vector_model())
        reject_unused("for texts; it is for vectors", {"--texts": self.texts})
        corpus = read_texts_to_encode(self.data, ColumnChoice(self.text_column))
        matching = _matching_rows(corpus.metadata, self.only)
        encoder, model = open_encoder()
        texts = [corpus.texts[row] for row in matching]
        vectors = encode_plain(encoder, texts, self.progress)
        ids, metadata = (
            [corpus.ids[row] for row in matching],
            [corpus.metadata[row] for row in matching],
        )
        return LabelledRows(vectors, ids, texts, metadata, model)

    def _from_vectors(self, model: dict[str, Any] | None) -> LabelledRows:
        from nestvec.encode import read_vectors

        vector_file = read_vectors(self.data, self.key)
        if self.texts is None:
            if file_format(self.data) in ARRAYS:
                reject_unused(
                    "without --texts", {"--only": self.only, "--text-column": self.text_column}
                )
            return self._beside(vector_file, model)
        corpus = read_texts(self.texts, self.text_column or None)
        n = len(vector_file.vectors)
        if len(corpus) != n:
            raise DataError(
                f"{self.data} has {n} rows but {self.texts} has {len(corpus)}; "
                "pass one text per vector"
            )
        matching = _matching_rows(corpus.metadata, self.only)
        ids, texts, metadata = (
            [corpus.ids[row] for row in matching],
            [corpus.texts[row] for row in matching],
            [corpus.metadata[row] for row in matching],
        )
        return LabelledRows(vector_file.vectors[matching], ids, texts, metadata, model)

    def _beside(self, vector_file: "VectorFile", model: dict[str, Any] | None) -> LabelledRows:
        """Combine vectors with the other columns of their file, if it has some."""
        columns_read = columns_beside(self.data, self.key, ColumnChoice(self.text_column))
        n = len(vector_file.vectors)
        ids = columns_read.ids if vector_file.ids is None else vector_file.ids.tolist()
        ids = list(range(n)) if ids is None else ids
        metadata = [{}] * n if columns_read.metadata is None else columns_read.metadata
        rows = _matching_rows(metadata, self.only)
        texts = None if columns_read.texts is None else [columns_read.texts[row] for row in rows]
        ids, metadata = [ids[row] for row in rows], [metadata[row] for row in rows]
        return LabelledRows(vector_file.vectors[rows], ids, texts, metadata, model)


def _matching_rows(metadata: Sequence[Mapping[str, Any]], only: list[str] | None) -> list[int]:
    """Find the rows that have all the values of `NAME=VALUE` conditions."""
    conditions = [condition.partition("=") for condition in only or ()]
    if any(not equals for _, equals, _ in conditions):
        raise InputError(f"--only {' '.join(only or ())}; write it as NAME=VALUE")
    matching = [
        place
        for place, row in enumerate(metadata)
        if all(str(row.get(name)) == value for name, _, value in conditions)
    ]
    if not matching:
        raise InputError(f"no row has {' and '.join(only or ())}; check names and values")
    return matching
