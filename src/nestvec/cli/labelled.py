"""What classifiers learn from and are asked: vectors or texts, with columns beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nestvec.cli.material import columns_beside, read_to_encode, refuse
from nestvec.data import read_texts
from nestvec.errors import DataError, InputError
from nestvec.inputs import ARRAYS, file_format, holds_vectors
from nestvec.progress import bar
from nestvec.shapes import Float

if TYPE_CHECKING:
    from nestvec.encode import Encoder, VectorFile

Opener = Callable[["Labelled"], tuple["Encoder", dict[str, Any]]]
"""What opens the encoder of texts, and the facts of it that are kept."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a file: their vectors, and what else it says of them."""

    vectors: Float[np.ndarray, "n dim"]
    ids: Sequence[Any]
    texts: Sequence[str] | None
    metadata: Sequence[Mapping[str, Any]]
    model: dict[str, Any] | None

    def column(self, name: str) -> list[str | int]:
        """One value per row."""
        missing = next((i for i, row in enumerate(self.metadata) if name not in row), None)
        if missing is not None:
            raise DataError(f"row {missing} has no column {name!r}; name the column with --label")
        return [row[name] for row in self.metadata]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A file as a command is given it."""

    data: Path
    texts: Path | None
    only: list[str] | None
    text_column: list[str] | None = None
    model: str | None = None
    base_url: str | None = None
    key: str | None = None

    def read(self, open_encoder: "Opener") -> Rows:
        """The rows that are asked for; texts among them, and no others, are encoded."""
        if holds_vectors(self.data, self.key, None if self.texts else self.text_column):
            return self._vectors()
        refuse("for texts; it is for vectors", {"--texts": self.texts})
        corpus = read_to_encode(self.data, self.text_column)
        kept = _kept(corpus.metadata, self.only)
        encoder, model = open_encoder(self)
        texts = [corpus.texts[row] for row in kept]
        vectors = encoder.encode(texts, bar)
        ids, metadata = [corpus.ids[row] for row in kept], [corpus.metadata[row] for row in kept]
        return Rows(vectors, ids, texts, metadata, model)

    def _vectors(self) -> Rows:
        from nestvec.cli.model import describe_maker
        from nestvec.encode import read_vectors

        model = describe_maker(self.model, self.base_url, None)
        given = read_vectors(self.data, self.key)
        if self.texts is None:
            if file_format(self.data) in ARRAYS:
                refuse("without --texts", {"--only": self.only, "--text-column": self.text_column})
            return self._beside(given, model)
        corpus = read_texts(self.texts, self.text_column or None)
        if len(corpus) != len(given.vectors):
            raise DataError(
                f"{self.data} has {len(given.vectors)} rows but {self.texts} has {len(corpus)}; "
                "give one text per vector"
            )
        kept = _kept(corpus.metadata, self.only)
        ids, texts, metadata = (
            [corpus.ids[row] for row in kept],
            [corpus.texts[row] for row in kept],
            [corpus.metadata[row] for row in kept],
        )
        return Rows(given.vectors[kept], ids, texts, metadata, model)

    def _beside(self, given: "VectorFile", model: dict[str, Any] | None) -> Rows:
        """Vectors with the columns of their own file, if it has some."""
        held = columns_beside(self.data, self.key, (self.text_column or None, None))
        n = len(given.vectors)
        ids = held.ids if given.ids is None else given.ids.tolist()
        ids = list(range(n)) if ids is None else ids
        metadata = [{}] * n if held.metadata is None else held.metadata
        rows = _kept(metadata, self.only)
        texts = None if held.texts is None else [held.texts[row] for row in rows]
        ids, metadata = [ids[row] for row in rows], [metadata[row] for row in rows]
        return Rows(given.vectors[rows], ids, texts, metadata, model)


def _kept(metadata: Sequence[Mapping[str, Any]], only: list[str] | None) -> list[int]:
    """The rows that have all the values of `NAME=VALUE`s."""
    wanted = [condition.partition("=") for condition in only or ()]
    if any(not equals for _, equals, _ in wanted):
        raise InputError(f"--only {' '.join(only or ())}; write it as NAME=VALUE")
    kept = [
        place
        for place, row in enumerate(metadata)
        if all(str(row.get(name)) == value for name, _, value in wanted)
    ]
    if not kept:
        raise InputError(f"no row has {' and '.join(only or ())}; check names and values")
    return kept
