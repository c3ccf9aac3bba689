"""What a variant does to vectors: fewer dimensions, then codes, fitted on the documents alone."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from nestvec.adapt import Rotation
from nestvec.auditing.types import FULL_BITS, UNIT_TOLERANCE, Encoded, Variant
from nestvec.parallel import each_block
from nestvec.shapes import Float32, Float64, Int64
from nestvec.vectors import normalize

_STEPS = {8: 0.0308, 4: 0.3352, 2: 0.9957}
"""Best step, in standard deviations, of a uniform quantiser for a normal variable (Max 1960)."""
_ROWS = 1024
"""Handled at a time, so that they stay in the cache from one step to the next."""


def off_unit(vectors: Float32[np.ndarray, "n dim"]) -> float:
    """How far the length of any row is from 1; rows of zeros, which have no direction, aside."""
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    lengths = np.sqrt(squares[squares > 0])
    return float(np.abs(lengths - 1).max()) if len(lengths) else 0.0


def are_unit(encoded: Encoded) -> bool:
    """Whether both sides are unit vectors, within `UNIT_TOLERANCE`."""
    return max(off_unit(encoded.queries), off_unit(encoded.documents)) <= UNIT_TOLERANCE


@dataclass(frozen=True)
class Codec:
    """A uniform quantiser per dimension: about the mean, in steps that suit the spread."""

    low: Float32[np.ndarray, " dims"]
    step: Float32[np.ndarray, " dims"]
    bits: int

    @classmethod
    def fit(cls, vectors: Float32[np.ndarray, "n dims"], bits: int) -> "Codec":
        """For 1 bit the sign alone: −1 and 1 about zero, whatever the vectors are."""
        if bits == 1:
            ones = np.ones(vectors.shape[1], np.float32)
            return cls(-ones, 2 * ones, 1)
        mean, spread = _moments(vectors)
        step = _STEPS[bits] * spread
        low = mean - step * (2**bits - 1) / 2
        return cls(low.astype(np.float32), step.astype(np.float32), bits)

    def round(self, vectors: Float32[np.ndarray, "n dims"]) -> Float32[np.ndarray, "n dims"]:
        """The nearest levels as floats; values beyond the outer levels are clipped to them."""
        rounded = np.empty_like(vectors)

        def run(block: slice) -> None:
            rounded[block] = self.low + self.step * self._codes(vectors[block])

        each_block(run, len(vectors), _ROWS)
        return rounded

    def _codes(self, vectors: Float32[np.ndarray, "n dims"]) -> Float32[np.ndarray, "n dims"]:
        if self.bits == 1:
            return np.asarray(vectors >= 0, np.float32)
        # A dimension without spread has one level: its mean.
        safe = np.where(self.step > 0, self.step, np.float32(1))
        codes = np.rint((vectors - self.low) / safe)
        return np.asarray(np.clip(codes, 0, 2**self.bits - 1), np.float32)


@dataclass(frozen=True)
class Transform:
    """The two steps of a variant, the same for queries and documents."""

    variant: Variant
    unit: bool
    """Whether rows are renormalised once they have fewer dimensions."""
    rotation: Rotation | None = None
    columns: Int64[np.ndarray, " dims"] | None = None
    codec: Codec | None = None

    @classmethod
    def fit_transform(
        cls,
        documents: Float32[np.ndarray, "n dim"],
        variant: Variant,
        unit: bool,
        rotation: Rotation | None = None,
        seed: int = 0,
    ) -> tuple["Transform", Float32[np.ndarray, "n dims"]]:
        """Fitted on the documents, and what it makes of them.

        `unit` says whether rows are renormalised; `rotation` is that of the documents, where it is
        known already; `seed` chooses random dimensions.
        """
        cut = cls(variant, unit)
        if variant.rotation == "pca":
            cut = replace(cut, rotation=rotation or Rotation.fit(documents))
        if variant.rotation == "random":
            columns = _random_columns(documents.shape[1], variant.dims, seed)
            cut = replace(cut, columns=columns)
        reduced = cut._reduce(documents)
        if variant.bits == FULL_BITS:
            return cut, reduced
        codec = Codec.fit(reduced, variant.bits)
        return replace(cut, codec=codec), (
            reduced if variant.side == "queries" else codec.round(reduced)
        )

    def queries(self, queries: Float32[np.ndarray, "q dim"]) -> Float32[np.ndarray, "q dims"]:
        """What becomes of queries."""
        return self._code(self._reduce(queries), self.variant.side != "documents")

    def documents(self, documents: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dims"]:
        """What becomes of more documents."""
        return self._code(self._reduce(documents), self.variant.side != "queries")

    def digest(self) -> str:
        """SHA-256 of all that was fitted: equal for both sides, or they were coded differently."""
        fitted = hashlib.sha256(repr((self.variant, self.unit)).encode())
        parts = (
            self.rotation and self.rotation.matrix, self.columns,
            self.codec and self.codec.low, self.codec and self.codec.step,
        )  # fmt: skip
        for part in parts:
            fitted.update(b"none" if part is None else np.ascontiguousarray(part).tobytes())
        return fitted.hexdigest()

    def _reduce(self, vectors: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dims"]:
        """Fewer dimensions at full precision; vectors that keep all of them are not copied."""
        dims, plain = self.variant.dims, self.rotation is None and self.columns is None
        if plain and dims == vectors.shape[1]:
            return vectors
        reduced = np.empty((len(vectors), dims), np.float32)

        def run(block: slice) -> None:
            kept = self._kept(vectors[block])
            # A prefix of a unit vector is not a unit vector.
            reduced[block] = normalize(kept) if self.unit else kept

        each_block(run, len(vectors), _ROWS)
        return reduced

    def _kept(self, vectors: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dims"]:
        if self.rotation is not None:
            return self.rotation.transform(vectors, self.variant.dims)
        return vectors[:, : self.variant.dims] if self.columns is None else vectors[:, self.columns]

    def _code(
        self, vectors: Float32[np.ndarray, "n dims"], wanted: bool
    ) -> Float32[np.ndarray, "n dims"]:
        return self.codec.round(vectors) if wanted and self.codec is not None else vectors


def encode(
    vectors: Float32[np.ndarray, "n dim"],
    queries: Float32[np.ndarray, "q dim"],
    variant: Variant,
    rotation: Rotation | None = None,
    seed: int = 0,
) -> Encoded:
    """Both sides as `variant` makes them, by one transform fitted on the documents.

    Prefixes are renormalised if both sides are unit vectors. Codes of 8, 4 and 2 bits are
    calibrated per dimension on the documents, and queries are clipped to what these allow; a code
    of 1 bit is the sign, about zero.
    """
    unit = are_unit(Encoded(queries, vectors))
    transform, documents = Transform.fit_transform(vectors, variant, unit, rotation, seed)
    return Encoded(transform.queries(queries), documents)


def _random_columns(width: int, dims: int, seed: int) -> Int64[np.ndarray, " dims"]:
    chosen = np.random.default_rng([seed, dims]).choice(width, dims, replace=False)
    return np.sort(chosen).astype(np.int64)


def _moments(
    vectors: Float32[np.ndarray, "n dims"],
) -> tuple[Float64[np.ndarray, " dims"], Float64[np.ndarray, " dims"]]:
    """Mean and standard deviation of each dimension."""
    n, width = vectors.shape
    mean = vectors.mean(axis=0, dtype=np.float64)
    squares = np.zeros((len(range(0, n, _ROWS)), width))

    def run(block: slice) -> None:
        squares[block.start // _ROWS] = np.square(vectors[block] - mean).sum(axis=0)

    each_block(run, n, _ROWS)
    return mean, np.sqrt(squares.sum(axis=0) / n)
