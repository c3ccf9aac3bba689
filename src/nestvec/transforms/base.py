"""`Transform`: a fitted, frozen map of vectors, and `Chain`: several of them as one."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from nestvec.deprecation import warn_renamed
from nestvec.errors import DataError, InputError, VectorsError
from nestvec.progress import Progress, silent
from nestvec.shapes import Float, Float32
from nestvec.transforms.files import fingerprint_of, read_file, write_file
from nestvec.transforms.layers import DenseLayer, Layer
from nestvec.vectors import (
    BLOCK_ROWS,
    as_float32,
    check_dims,
    check_finite,
    check_magnitude,
    check_vectors,
)

Side = Literal["documents", "queries"]
"""The vectors that are mapped; most transforms map both sides alike."""

Arrays = dict[str, np.ndarray]
Facts = dict[str, Any]
"""Properties of a transform besides its arrays, as JSON values."""

T = TypeVar("T", bound="Transform")


class AffineMap(NamedTuple):
    """Rows times `matrix`, plus `offset`."""

    matrix: Float32[np.ndarray, "dim width"]
    offset: Float32[np.ndarray, " width"]


class Transform(ABC):
    """A map of rows of width `dim` to rows of `width`, fitted so that prefixes are useful.

    A transform never changes. Two of them have equal fingerprints if and only if they are equal. A
    new kind is a subclass with the decorator `register_kind` that defines the abstract methods.
    """

    kind: ClassVar[str]

    # --- defined by each kind ----------------------------------------------------------------

    @property
    @abstractmethod
    def dim(self) -> int:
        """Width of the input vectors."""

    @property
    def width(self) -> int:
        """Width of the output vectors."""
        return self.dim

    @property
    def dims(self) -> tuple[int, ...]:
        """The prefix widths it was trained for, ascending; empty where it favours none."""
        return ()

    @property
    def preserves_inner_products(self) -> bool:
        """True if all inner products at full width stay the same, up to rounding."""
        return False

    @property
    def front_energy(self) -> float | None:
        """Share of the fitted rows' energy in the first eighth of the output, if known."""
        return None

    @property
    def two_sided(self) -> bool:
        """True if queries are mapped differently from documents."""
        return False

    @property
    def first_part(self) -> "Transform":
        """The transform that sees the input vectors: this one, or the first of a chain."""
        return self

    @abstractmethod
    def apply(
        self, rows: Float32[np.ndarray, "n dim"], dims: int, side: Side
    ) -> Float32[np.ndarray, "n dims"]:
        """Map checked rows to the first `dims` output dimensions."""

    @abstractmethod
    def affine(self, side: Side = "documents") -> AffineMap | None:
        """Give the map of a side as one matrix and offset; None where it is not affine."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """Give all arrays by name, as a file holds them."""

    @abstractmethod
    def facts(self) -> Facts:
        """Give everything else that decides the output, as a file holds it."""

    def notes(self) -> Facts:
        """Give what a file holds besides, such as a report; it is not in the fingerprint."""
        return {}

    @classmethod
    @abstractmethod
    def from_arrays(cls: type[T], arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> T:
        """Rebuild a transform from its arrays, and from its facts and notes together.

        `KeyError`, `ValueError` or `TypeError` for what is not of this kind.
        """

    def layers(self, side: Side) -> list[Layer]:
        """Give the map of a side as layers; `InputError` where it has no such form."""
        affine = self.affine(side)
        if affine is None:
            raise InputError(f"a {self.kind} has no form in Sentence Transformers; use transform")
        return [DenseLayer(*affine)]

    # --- the same for all kinds --------------------------------------------------------------

    def transform(
        self, vectors: ArrayLike, dims: int | None = None
    ) -> Float32[np.ndarray, "n dims"]:
        """Map documents [n, dim] to the first `dims` (None: all) output dimensions.

        The rows are not renormalised; `nv.truncate` does that. The result is the same in memory
        and streamed. Use `transform_queries` for queries.
        """
        return self._gather(vectors, dims, "documents")

    def transform_queries(
        self, queries: ArrayLike, dims: int | None = None
    ) -> Float32[np.ndarray, "q dims"]:
        """Map queries [q, dim], as `transform` maps documents; only two-sided maps differ.

        Each query is mapped by itself, so that the result does not depend on the others to the last
        bit: BLAS adds in another order for another number of rows.
        """
        return self._gather(queries, dims, "queries")

    def transform_blocks(
        self, vectors: ArrayLike, dims: int | None = None, side: Side = "documents"
    ) -> Iterator[Float32[np.ndarray, "m dims"]]:
        """Yield the transformed rows in order, block by block; a memory map stays on disk."""
        array = check_vectors(vectors, dim=self.dim)
        width = self._width(dims)
        for first_row in range(0, len(array), BLOCK_ROWS):
            block = array[first_row : first_row + BLOCK_ROWS]
            check_finite(block, "vectors", first_row)
            check_magnitude(block, "vectors", first_row)
            rows = np.ascontiguousarray(block, dtype=np.float32)
            if side == "documents":
                yield self.apply(rows, width, side)
            elif len(rows):
                yield np.concatenate([self.apply(row[None], width, side) for row in rows])

    def transform_file(
        self,
        vectors: ArrayLike,
        path: str | os.PathLike[str],
        dims: int | None = None,
        side: Side = "documents",
        progress: Progress = silent,
    ) -> None:
        """Write the transformed rows to a new `.npy` or `.safetensors` file, block by block.

        Only a complete file gets the name. A `.safetensors` file records this transform's
        fingerprint, so that an index can tell its rows from other vectors. `DataError` if the file
        exists.
        """
        from nestvec.transforms.stream import write_rows

        array = check_vectors(vectors, dim=self.dim)
        width = self._width(dims)
        label = {"adapter": self.fingerprint, "side": side}
        blocks = self.transform_blocks(array, width, side)
        write_rows(Path(path), blocks, (len(array), width), label, progress)

    def compose(self, following: "Transform") -> "Chain":
        """Chain this transform with one that is applied to its output."""
        return Chain.of(self, following)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of everything that decides the output."""
        return fingerprint_of([self.kind, self.facts()], self.arrays())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one `.safetensors` file with a JSON header and a checksum, in one step."""
        header = {"kind": self.kind, "facts": self.facts(), "notes": self.notes()}
        write_file(Path(path), self.arrays(), header)

    @classmethod
    def load(cls: type[T], path: str | os.PathLike[str]) -> T:
        """Read a transform from a file; `Transform.load` reads any kind.

        `DataError` for a file that holds none, is damaged, or holds another kind.
        """
        arrays, header = read_file(Path(path))
        try:
            loaded = transform_from_arrays(
                header["kind"], arrays, {**header["notes"], **header["facts"]}
            )
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as e:
            raise DataError(
                f"'{path}' holds no usable transform ({e}); fit and save it again"
            ) from e
        if not isinstance(loaded, cls):
            raise DataError(
                f"'{path}' holds a transform of kind {loaded.kind!r}, not {cls.kind!r}; "
                "use Transform.load"
            )
        return loaded

    def to_sentence_transformers(self) -> list[Any]:
        """Give modules of Sentence Transformers that do the same, to append to those of a model.

        They give unit rows, and the saved model loads without nestvec. Where an offset follows an
        adaptor in a chain, they agree for sentence embeddings of unit length only, since no module
        of Sentence Transformers can restore the length of a row.
        """
        from nestvec.transforms.sentence_transformers import build_modules

        query_layers = self.layers("queries") if self.two_sided else None
        return build_modules(self.layers("documents"), query_layers)

    def _width(self, dims: int | None) -> int:
        return self.width if dims is None else check_dims(dims, self.width)

    def _gather(
        self, vectors: ArrayLike, dims: int | None, side: Side
    ) -> Float32[np.ndarray, "n dims"]:
        array = check_vectors(vectors, "queries" if side == "queries" else "vectors", self.dim)
        gathered = np.empty((len(array), self._width(dims)), np.float32)
        first_row = 0
        for block in self.transform_blocks(array, dims, side):
            gathered[first_row : first_row + len(block)] = block
            first_row += len(block)
        return gathered

    # --- old names ---------------------------------------------------------------------------

    @property
    def lossless(self) -> bool:
        """The old name of `preserves_inner_products`."""
        warn_renamed("lossless", "preserves_inner_products")
        return self.preserves_inner_products

    def then(self, following: "Transform") -> "Chain":
        """Call `compose`, by its old name."""
        warn_renamed("then", "compose")
        return self.compose(following)


_KINDS: dict[str, type[Transform]] = {}


def register_kind(transform: type[T]) -> type[T]:
    """Make a class the one that files of its `kind` are loaded as.

    A subclass takes the place of its parent: the classes of `nestvec.adapt` add fitting to the
    maps of this package in that way. `TypeError` for a class that would replace an unrelated one.
    """
    registered = _KINDS.get(transform.kind, Transform)
    if not issubclass(transform, registered):
        raise TypeError(
            f"{transform.__name__} cannot be the kind {transform.kind!r}, which is "
            f"{registered.__name__} already; choose another name for the kind"
        )
    _KINDS[transform.kind] = transform
    return transform


def transform_from_arrays(
    kind: str, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
) -> Transform:
    """Rebuild a transform of a named kind from its arrays and facts; `ValueError` for others."""
    if kind not in _KINDS:
        raise ValueError(f"its kind is {kind!r}, which this nestvec does not know")
    return _KINDS[kind].from_arrays(arrays, facts)


@register_kind
@dataclass(frozen=True, eq=False)
class Chain(Transform):
    """Transforms one after the other: each maps the output of the one before."""

    kind: ClassVar[str] = "chain"
    parts: tuple[Transform, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise VectorsError("a chain without transforms maps nothing; give at least one")
        for part, following in pairwise(self.parts):
            if part.width != following.dim:
                raise VectorsError(
                    f"a {part.kind} gives vectors of {part.width} dimensions but the "
                    f"{following.kind} after it takes {following.dim}; chain transforms whose "
                    "widths match"
                )

    @classmethod
    def of(cls, *transforms: Transform) -> "Chain":
        """Chain transforms; chains among them are flattened, so that order alone matters."""
        flat = (part for t in transforms for part in (t.parts if isinstance(t, Chain) else (t,)))
        return cls(tuple(flat))

    @property
    def dim(self) -> int:
        """Width of the input of the first part."""
        return self.parts[0].dim

    @property
    def width(self) -> int:
        """Width of the output of the last part."""
        return self.parts[-1].width

    @property
    def dims(self) -> tuple[int, ...]:
        """The prefix widths of the last trained part, up to the width of the chain."""
        trained = next((part.dims for part in reversed(self.parts) if part.dims), ())
        return tuple(dims for dims in trained if dims <= self.width)

    @property
    def first_part(self) -> Transform:
        """The first part, which sees the input vectors."""
        return self.parts[0]

    @property
    def preserves_inner_products(self) -> bool:
        """True if every part preserves them."""
        return all(part.preserves_inner_products for part in self.parts)

    @property
    def two_sided(self) -> bool:
        """True if any part maps queries differently from documents."""
        return any(part.two_sided for part in self.parts)

    def apply(
        self, rows: Float32[np.ndarray, "n dim"], dims: int, side: Side
    ) -> Float32[np.ndarray, "n dims"]:
        """Apply all parts in turn; only the last computes no more than `dims` dimensions."""
        *leading, final = self.parts
        for part in leading:
            rows = part.apply(rows, part.width, side)
        return final.apply(rows, dims, side)

    def affine(self, side: Side = "documents") -> AffineMap | None:
        """Multiply the parts in float64; None where one of them is not affine."""
        matrix, offset = np.eye(self.dim), np.zeros(self.dim)
        for part in self.parts:
            step = part.affine(side)
            if step is None:
                return None
            matrix, offset = matrix @ step.matrix, offset @ step.matrix + step.offset
        return AffineMap(matrix.astype(np.float32), offset.astype(np.float32))

    def layers(self, side: Side) -> list[Layer]:
        """Join the layers of all parts."""
        return [layer for part in self.parts for layer in part.layers(side)]

    def arrays(self) -> Arrays:
        """Give the arrays of the parts, named by position and name."""
        return {
            f"{position}.{name}": array
            for position, part in enumerate(self.parts)
            for name, array in part.arrays().items()
        }

    def facts(self) -> Facts:
        """Give the kind and the facts of each part."""
        return {"parts": [{"kind": part.kind, "facts": part.facts()} for part in self.parts]}

    def notes(self) -> Facts:
        """Give the notes of each part."""
        return {"notes": [part.notes() for part in self.parts]}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "Chain":
        """Rebuild every part."""
        parts = []
        for position, (part, notes) in enumerate(zip(facts["parts"], facts["notes"], strict=True)):
            part_arrays = arrays_below(arrays, str(position))
            parts.append(
                transform_from_arrays(part["kind"], part_arrays, {**notes, **part["facts"]})
            )
        return cls(tuple(parts))


def arrays_below(arrays: Mapping[str, np.ndarray], prefix: str) -> Arrays:
    """Select the arrays whose names begin with `prefix.`, without that part of the names."""
    start = f"{prefix}."
    return {n.removeprefix(start): a for n, a in arrays.items() if n.startswith(start)}


def check_same_model(transform: Transform, vectors: Float[np.ndarray, "n dim"]) -> None:
    """Refuse rows that look like those of another model, which happens to have the same width.

    The rows that a transform was fitted to have much of their energy in the first eighth of its
    output; rows of an unrelated model have an eighth there. `VectorsError` for a batch closer to an
    eighth than a quarter of the way. Fewer than 64 rows are never refused: a few may be unusual.
    """
    transform = transform.first_part
    if transform.front_energy is None or len(vectors) < _MIN_ROWS:
        return
    front = max(1, transform.width // 8)
    sample = transform.apply(as_float32(vectors[:_MAX_ROWS]), transform.width, "documents")
    energy = np.square(sample, dtype=np.float64).sum(axis=0)
    share, expected = (
        float(energy[:front].sum() / max(energy.sum(), 1e-300)),
        front / transform.width,
    )
    if share < expected + (transform.front_energy - expected) / 4:
        raise VectorsError(
            f"the vectors do not look like those that the transform was fitted to: its first "
            f"{front} dimensions hold {share:.0%} of their energy in place of "
            f"{transform.front_energy:.0%}; give vectors of the same model, or fit a transform to "
            "these"
        )


_MIN_ROWS = 64
"""Fewer rows are too few to tell one model from another."""
_MAX_ROWS = 4096
"""More rows tell nothing more."""
