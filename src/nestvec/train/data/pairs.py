"""Pairs to train on: a query (a text or an image) and the text that is its positive."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.data import read_texts
from nestvec.deprecation import renamed_fields
from nestvec.errors import DataError
from nestvec.shapes import Int64
from nestvec.train.data.held_out import hold_out
from nestvec.train.data.images import Images

Items = tuple[str, ...] | np.ndarray
"""Texts, or images as uint8 [n, height, width, channels]."""


@renamed_fields({"left": "queries", "right": "documents", "own": "positives", "asked": "query_ids"})
@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Queries with their positives: row i of `queries` belongs to `documents[positives[i]]`.

    Equal documents are one item, so that a text is never a negative of itself, and queries of one
    `query_ids` number share their positives. `negatives` has a hard negative per row, if any.
    """

    queries: Items
    documents: tuple[str, ...]
    positives: Int64[np.ndarray, " n"]
    query_ids: Int64[np.ndarray, " n"]
    negatives: tuple[str, ...] | None = None

    @classmethod
    def from_texts(
        cls,
        queries: Sequence[str],
        documents: Sequence[str],
        negatives: Sequence[str] | None = None,
    ) -> "Pairs":
        """Make pairs of texts row by row; `DataError` where the sides differ in length."""
        columns = {"queries": queries, "documents": documents}
        if negatives is not None:
            columns["negatives"] = negatives
        if len({len(texts) for texts in columns.values()}) > 1 or not len(queries):
            counts = " and ".join(f"{len(texts)} {name}" for name, texts in columns.items())
            raise DataError(f"{counts} make no pairs; pass the same number of each, at least one")
        query_ids, _ = _numbered(queries)
        positives, distinct = _numbered(documents)
        hard = None if negatives is None else tuple(negatives)
        return cls(tuple(queries), distinct, positives, query_ids, hard)

    @classmethod
    def from_images(cls, images: Images) -> "Pairs":
        """Make pairs of images and the names of their classes."""
        rows = np.arange(len(images))
        return cls(images.pixels, images.classes, images.labels, rows)

    def __len__(self) -> int:
        return len(self.positives)

    def select(self, rows: Int64[np.ndarray, " m"]) -> "Pairs":
        """Select pairs in this order, with the documents that they need."""
        used, positives = np.unique(self.positives[rows], return_inverse=True)
        queries = (
            self.queries[rows]
            if isinstance(self.queries, np.ndarray)
            else _select(self.queries, rows)
        )
        hard = None if self.negatives is None else _select(self.negatives, rows)
        return Pairs(queries, _select(self.documents, used), positives, self.query_ids[rows], hard)

    def split(self, held_out: int, seed: int) -> tuple["Pairs", "Pairs"]:
        """Hold out `held_out` pairs, drawn by the seed; return the training pairs and these.

        Pairs of texts that share a text with a held-out pair go to neither side.
        """
        train_rows, held_out_rows = hold_out(len(self), held_out, seed)
        if not isinstance(self.queries, np.ndarray):  # class names are shared on purpose
            is_shared = np.isin(self.positives[train_rows], self.positives[held_out_rows])
            is_shared |= np.isin(self.query_ids[train_rows], self.query_ids[held_out_rows])
            train_rows = train_rows[~is_shared]
        if len(train_rows) == 0:
            raise DataError("every pair shares a text with a held-out one; hold out fewer")
        return self.select(train_rows), self.select(held_out_rows)


@renamed_fields({"left": "query_column", "right": "document_column", "negative": "negative_column"})
@dataclass(frozen=True, slots=True)
class PairFile:
    """A file of pairs of texts, and the number of pairs to hold out."""

    pairs: str
    """A .jsonl, .tsv or .csv file, also .gz."""
    query_column: str
    """The column of queries; `metadata.NAME` for one inside a record's metadata."""
    document_column: str
    """The column of their positives."""
    negative_column: str | None = None
    """The column of hard negatives."""
    held_out: int = 500
    limit: int | None = None
    """Read at most so many rows."""
    seed: int = 0

    def read(self) -> tuple[Pairs, Pairs]:
        """Read the pairs to train on, and those held out."""
        columns = [self.query_column, self.document_column]
        if self.negative_column is not None:
            columns.append(self.negative_column)
        texts = [_column(Path(self.pairs), name, self.limit) for name in columns]
        return Pairs.from_texts(*texts).split(self.held_out, self.seed)


def _column(path: Path, name: str, limit: int | None) -> tuple[str, ...]:
    """Read the texts of one column; `DataError` where a row has none."""
    field = name.removeprefix("metadata.")
    if field == name:
        return read_texts(path, name, limit=limit).texts
    texts: tuple[Any, ...] = tuple(row.get(field) for row in read_texts(path, limit=limit).metadata)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{path}: the metadata of row {row} has no text {field!r}")
    return texts


def _numbered(texts: Sequence[str]) -> tuple[Int64[np.ndarray, " n"], tuple[str, ...]]:
    """Number each text among the distinct ones, which are returned in order of appearance."""
    numbers: dict[str, int] = {}
    rows = [numbers.setdefault(text, len(numbers)) for text in texts]
    return np.array(rows, dtype=np.int64), tuple(numbers)


def _select(texts: tuple[str, ...], rows: Int64[np.ndarray, " m"]) -> tuple[str, ...]:
    return tuple(texts[row] for row in rows.tolist())
