"""Pairs to train on: a left item (a text or an image) and the text that belongs to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.data import read_texts
from nestvec.errors import DataError
from nestvec.shapes import Int64
from nestvec.train.data.held_out import hold_out
from nestvec.train.data.images import Images

Items = tuple[str, ...] | np.ndarray
"""Texts, or images as uint8 [n, height, width, channels]."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Row i of `left` belongs to `right[own[i]]`.

    Equal texts are one item: a batch is never told that a text is no answer to itself, and equal
    questions (by `asked`) share their answers. `negatives`, if given, has one per row that is hard.
    """

    left: Items
    right: tuple[str, ...]
    own: Int64[np.ndarray, " n"]
    asked: Int64[np.ndarray, " n"]
    negatives: tuple[str, ...] | None = None

    @classmethod
    def of_texts(
        cls, left: Sequence[str], right: Sequence[str], negatives: Sequence[str] | None = None
    ) -> "Pairs":
        """From texts row by row."""
        others = right if negatives is None else negatives
        if not 0 < len(left) == len(right) == len(others):
            raise DataError(f"{len(left)}, {len(right)} and {len(others)} texts do not make pairs")
        asked, _ = _numbered(left)
        own, distinct = _numbered(right)
        hard = None if negatives is None else tuple(negatives)
        return cls(tuple(left), distinct, own, asked, hard)

    @classmethod
    def of_images(cls, images: Images) -> "Pairs":
        """Images and the names of their classes."""
        rows = np.arange(len(images))
        return cls(images.pixels, images.classes, images.labels, rows)

    def __len__(self) -> int:
        return len(self.own)

    def rows(self, rows: Int64[np.ndarray, " m"]) -> "Pairs":
        """Some of the pairs, in this order, with the right items that they need."""
        used, own = np.unique(self.own[rows], return_inverse=True)
        left = self.left[rows] if isinstance(self.left, np.ndarray) else _take(self.left, rows)
        hard = None if self.negatives is None else _take(self.negatives, rows)
        return Pairs(left, _take(self.right, used), own, self.asked[rows], hard)

    def split(self, held_out: int, seed: int) -> tuple["Pairs", "Pairs"]:
        """All but `held_out` pairs, and these, drawn by the seed.

        Pairs of texts that share a text with a held-out pair go to neither side.
        """
        kept, held = hold_out(len(self), held_out, seed)
        if not isinstance(self.left, np.ndarray):  # class names are shared on purpose
            known = np.isin(self.own[kept], self.own[held])
            known |= np.isin(self.asked[kept], self.asked[held])
            kept = kept[~known]
        if len(kept) == 0:
            raise DataError("every pair shares a text with a held-out one; hold out fewer")
        return self.rows(kept), self.rows(held)


@dataclass(frozen=True, slots=True)
class PairFile:
    """Where pairs of texts are, and how many are held out."""

    pairs: str
    """A .jsonl, .tsv or .csv file, also .gz."""
    left: str
    """The column with the text that asks; `metadata.NAME` for one inside a record's metadata."""
    right: str
    """The column with the text that it is to find."""
    negative: str | None = None
    """The column with a text that it is not to find, though it looks alike."""
    held_out: int = 500
    limit: int | None = None
    """Read so many rows."""
    seed: int = 0

    def read(self) -> tuple[Pairs, Pairs]:
        """The pairs to train on, and those held out."""
        columns = [self.left, self.right, *([] if self.negative is None else [self.negative])]
        read = [_column(Path(self.pairs), name, self.limit) for name in columns]
        return Pairs.of_texts(*read).split(self.held_out, self.seed)


def _column(path: Path, name: str, limit: int | None) -> tuple[str, ...]:
    """The texts of one column, else `DataError`."""
    inner = name.removeprefix("metadata.")
    if inner == name:
        return read_texts(path, name, limit=limit).texts
    texts: tuple[Any, ...] = tuple(row.get(inner) for row in read_texts(path, limit=limit).metadata)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{path}: the metadata of row {row} has no text {inner!r}")
    return texts


def _numbered(texts: Sequence[str]) -> tuple[Int64[np.ndarray, " n"], tuple[str, ...]]:
    """The number of each text among the distinct ones, and these in order of appearance."""
    numbers: dict[str, int] = {}
    rows = [numbers.setdefault(text, len(numbers)) for text in texts]
    return np.array(rows, dtype=np.int64), tuple(numbers)


def _take(texts: tuple[str, ...], rows: Int64[np.ndarray, " m"]) -> tuple[str, ...]:
    return tuple(texts[row] for row in rows.tolist())
