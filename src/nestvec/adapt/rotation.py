"""Orthogonal maps: full-width inner products stay, energy moves to the front."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import VectorsError
from nestvec.shapes import Float, Float32, Float64
from nestvec.vectors import (
    BLOCK_ROWS,
    as_float32,
    check_dims,
    check_finite,
    check_magnitude,
    check_vectors,
)


def second_moment(
    blocks: Iterator[Float32[np.ndarray, "n dim"]], dim: int
) -> Float64[np.ndarray, "dim dim"]:
    """The sum of xᵀx over all rows of all blocks: products in float32, blocks added in float64."""
    total = np.zeros((dim, dim))
    for block in blocks:
        total += block.T @ block
    return total


@dataclass(frozen=True, eq=False)
class Rotation:
    """An orthogonal map of vectors; column j of `matrix` is the direction of new dimension j."""

    matrix: Float32[np.ndarray, "dim dim"]

    @classmethod
    def fit(cls, vectors: ArrayLike) -> "Rotation":
        """The principal directions of the vectors about the origin, strongest first.

        Not centred, so that inner products stay what they were (up to float32 rounding). Rows are
        read in blocks: a memory map larger than memory is fine.
        """
        array = check_vectors(vectors)
        if len(array) == 0:
            raise VectorsError("vectors have no rows; a rotation needs at least one")
        return cls.from_second_moment(second_moment(_float32_blocks(array), array.shape[1]))

    @classmethod
    def from_second_moment(cls, moment: Float64[np.ndarray, "dim dim"]) -> "Rotation":
        """Eigenvectors by falling eigenvalue, each with its largest entry positive."""
        _, directions = np.linalg.eigh(moment)
        directions = directions[:, ::-1]
        largest = np.abs(directions).argmax(axis=0)
        signs = np.sign(directions[largest, np.arange(len(largest))])
        return cls(np.ascontiguousarray(directions * signs, dtype=np.float32))

    @classmethod
    def identity(cls, dim: int) -> "Rotation":
        """The map that changes nothing: a model trained nested keeps its own order."""
        return cls(np.eye(dim, dtype=np.float32))

    @property
    def dim(self) -> int:
        """Width of the vectors it takes."""
        return len(self.matrix)

    def transform(
        self, vectors: ArrayLike, dims: int | None = None
    ) -> Float32[np.ndarray, "n dims"]:
        """The first `dims` (None: all) rotated dimensions, not renormalised."""
        array = as_float32(vectors, dim=self.dim)
        width = self.dim if dims is None else check_dims(dims, self.dim)
        return np.asarray(array @ self.matrix[:, :width])


def _float32_blocks(array: Float[np.ndarray, "n dim"]) -> Iterator[Float32[np.ndarray, "m dim"]]:
    for first in range(0, len(array), BLOCK_ROWS):
        block = array[first : first + BLOCK_ROWS]
        check_finite(block, "vectors", first)
        check_magnitude(block, "vectors", first)
        yield np.asarray(block, dtype=np.float32)
