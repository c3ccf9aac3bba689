"""`Adapter`: a fitted, frozen map of vectors, whatever it was fitted by."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import DataError, DimsError, VectorsError
from nestvec.progress import Progress, silent
from nestvec.shapes import Float, Float32
from nestvec.transforms.files import digest, read_file, write_file
from nestvec.vectors import (
    BLOCK_ROWS,
    as_float32,
    check_dims,
    check_finite,
    check_magnitude,
    check_vectors,
)

if TYPE_CHECKING:
    from nestvec.transforms.chain import Chain

Side = Literal["documents", "queries"]
"""Which of the two is mapped; most adapters map both alike."""

Arrays = dict[str, np.ndarray]
Facts = dict[str, Any]
"""What an adapter is besides its arrays, as JSON values."""

Kind = TypeVar("Kind", bound="Adapter")


class Affine(NamedTuple):
    """Rows times `matrix`, plus `offset`."""

    matrix: Float32[np.ndarray, "dim width"]
    offset: Float32[np.ndarray, " width"]


class Adapter(ABC):
    """A map of rows of width `dim` to rows of `width`, whose prefixes are made to be useful.

    Frozen and fitted from birth. Equal adapters have equal fingerprints, and only they. A new kind
    is a subclass that says its `kind` and how it maps, stores and recalls itself.
    """

    kind: ClassVar[str]

    # --- what a kind says --------------------------------------------------------------------

    @property
    @abstractmethod
    def dim(self) -> int:
        """Width of the vectors it takes."""

    @property
    def width(self) -> int:
        """Width of the vectors it gives."""
        return self.dim

    @property
    def dims(self) -> tuple[int, ...]:
        """The prefix widths it was trained for, rising; none where it was made for all alike."""
        return ()

    @property
    def lossless(self) -> bool:
        """Whether all inner products at full width stay what they were, up to rounding."""
        return False

    @property
    def front_energy(self) -> float | None:
        """Share of the fitted rows' energy in the first eighth of what it gives, if known."""
        return None

    @property
    def first(self) -> "Adapter":
        """What sees the vectors as they are given: the adapter itself, but for a chain."""
        return self

    @abstractmethod
    def apply(
        self, rows: Float32[np.ndarray, "n dim"], dims: int, side: Side
    ) -> Float32[np.ndarray, "n dims"]:
        """The first `dims` adapted dimensions of checked rows."""

    @abstractmethod
    def affine(self, side: Side = "documents") -> Affine | None:
        """The map of a side as one matrix and offset, or None where it is no such map."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """All its numbers, by name."""

    @abstractmethod
    def facts(self) -> Facts:
        """All else that decides what it gives."""

    @classmethod
    @abstractmethod
    def restore(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "Adapter":
        """The adapter that gave these; `KeyError`, `ValueError` or `TypeError` for nonsense."""

    # --- what all of them do -----------------------------------------------------------------

    def transform(
        self, vectors: ArrayLike, dims: int | None = None
    ) -> Float32[np.ndarray, "n dims"]:
        """The first `dims` (None: all) adapted dimensions of documents, not renormalised.

        `nv.truncate` renormalises. The same rows give the same result, in memory or streamed.
        """
        return self._gather(vectors, dims, "documents")

    def transform_queries(
        self, queries: ArrayLike, dims: int | None = None
    ) -> Float32[np.ndarray, "q dims"]:
        """As `transform`, for queries: not the same where the two sides are mapped differently."""
        return self._gather(queries, dims, "queries")

    def blocks(
        self, vectors: ArrayLike, dims: int | None = None, side: Side = "documents"
    ) -> Iterator[Float32[np.ndarray, "m dims"]]:
        """The transformed rows in order, a block at a time; a memory map is never held whole."""
        array = check_vectors(vectors, dim=self.dim)
        width = self._width(dims)
        for first in range(0, len(array), BLOCK_ROWS):
            block = array[first : first + BLOCK_ROWS]
            check_finite(block, "vectors", first)
            check_magnitude(block, "vectors", first)
            yield self.apply(np.ascontiguousarray(block, dtype=np.float32), width, side)

    def transform_file(
        self,
        vectors: ArrayLike,
        path: str | os.PathLike[str],
        dims: int | None = None,
        side: Side = "documents",
        progress: Progress = silent,
    ) -> None:
        """Write the transformed rows to a new `.npy` or `.safetensors` file, block by block.

        Only a complete file gets the name. A `.safetensors` says which adapter made it, so that an
        index can tell it from vectors of another kind. `DataError` if the file exists.
        """
        from nestvec.transforms.stream import write_rows

        array = check_vectors(vectors, dim=self.dim)
        width = self._width(dims)
        label = {"adapter": self.fingerprint, "side": side}
        blocks = self.blocks(array, width, side)
        write_rows(Path(path), blocks, (len(array), width), label, progress)

    def then(self, other: "Adapter") -> "Chain":
        """This adapter and then `other`, as one."""
        from nestvec.transforms.chain import Chain

        return Chain.of(self, other)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of all that decides what it gives."""
        return digest([self.kind, self.facts()], self.arrays())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one `.safetensors` file with a JSON header and a checksum, in one step."""
        header = {"kind": self.kind, "facts": self.facts(), "notes": self.notes()}
        write_file(Path(path), self.arrays(), header)

    def notes(self) -> Facts:
        """What is told of it and changes nothing: kept in its file, not in its fingerprint."""
        return {}

    @classmethod
    def load(cls: type[Kind], path: str | os.PathLike[str]) -> Kind:
        """The adapter of a file; `DataError` if it is none, damaged, or of another kind."""
        arrays, header = read_file(Path(path))
        try:
            found = revive(header["kind"], arrays, {**header["notes"], **header["facts"]})
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as e:
            raise DataError(f"'{path}' holds no usable adapter ({e}); fit and save it again") from e
        if not isinstance(found, cls):
            raise DataError(f"'{path}' holds a {found.kind}, not a {cls.kind}; use Adapter.load")
        return found

    def to_sentence_transformers(self) -> list[Any]:
        """Modules of Sentence Transformers that do the same, to be appended to a model's own.

        They give unit rows. A loaded model needs no nestvec.
        """
        from nestvec.transforms.sentence_transformers import as_modules

        return as_modules(self)

    def _width(self, dims: int | None) -> int:
        return self.width if dims is None else check_dims(dims, self.width)

    def _gather(
        self, vectors: ArrayLike, dims: int | None, side: Side
    ) -> Float32[np.ndarray, "n dims"]:
        array = check_vectors(vectors, "queries" if side == "queries" else "vectors", self.dim)
        gathered = np.empty((len(array), self._width(dims)), np.float32)
        first = 0
        for block in self.blocks(array, dims, side):
            gathered[first : first + len(block)] = block
            first += len(block)
        return gathered


def revive(kind: str, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> Adapter:
    """The adapter of a kind, by name, that gave these arrays and facts."""
    import nestvec.adapt  # noqa: F401  a kind is known once it is imported

    kinds = {known.kind: known for known in Adapter.__subclasses__()}
    if kind not in kinds:
        raise ValueError(f"it is a {kind!r}, which this nestvec does not know")
    return kinds[kind].restore(arrays, facts)


def check_kind(adapter: Adapter, vectors: Float[np.ndarray, "n dim"]) -> None:
    """`VectorsError` where rows look like another model's, which happened to have this width.

    The rows an adapter was fitted to hold much of their energy in the first eighth of what it
    gives; those of an unrelated model an eighth. Told of batches alone: one row may be odd.
    """
    adapter = adapter.first
    if adapter.front_energy is None or len(vectors) < _FEWEST_ROWS:
        return
    front = max(1, adapter.width // 8)
    sample = adapter.apply(as_float32(vectors[:_MOST_ROWS]), adapter.width, "documents")
    energy = np.square(sample, dtype=np.float64).sum(axis=0)
    found, chance = float(energy[:front].sum() / max(energy.sum(), 1e-300)), front / adapter.width
    if found < chance + (adapter.front_energy - chance) / 4:
        raise VectorsError(
            f"the vectors do not look like those that the adapter was fitted to: its first {front} "
            f"dimensions hold {found:.0%} of their energy in place of {adapter.front_energy:.0%}; "
            "give vectors of the same model, or fit an adapter to these"
        )


_FEWEST_ROWS = 64
_MOST_ROWS = 4096


def check_sizes(dims: Any, width: int) -> tuple[int, ...]:
    """Prefix widths to train for: rising, none wider than the vectors; else `DimsError`."""
    try:
        sizes = tuple(check_dims(size, width) for size in dims)
    except TypeError:
        raise DimsError(f"dims={dims!r} are not sizes; give some, such as dims=[32, 64]") from None
    if not sizes or any(a >= b for a, b in pairwise(sizes)):
        raise DimsError(f"dims={list(sizes)} do not rise; give each size once, small ones first")
    return sizes
