"""Orthogonal maps: inner products at full width stay the same, and energy moves to the front."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import VectorsError
from nestvec.shapes import Float, Float32, Float64
from nestvec.transforms.base import AffineMap, Arrays, Facts, Side, Transform, register_kind
from nestvec.vectors import BLOCK_ROWS, check_finite, check_magnitude, check_vectors

R = TypeVar("R", bound="OrthogonalTransform")


def second_moment(
    blocks: Iterator[Float32[np.ndarray, "n dim"]], dim: int
) -> Float64[np.ndarray, "dim dim"]:
    """Sum xᵀx over all rows of all blocks: products in float32, blocks added in float64."""
    total = np.zeros((dim, dim))
    for block in blocks:
        total += block.T @ block
    return total


@register_kind
@dataclass(frozen=True, eq=False)
class OrthogonalTransform(Transform):
    """An orthogonal map of vectors; column j of `matrix` is the direction of output dimension j.

    Queries and documents are rotated alike, so inner products at full width stay the same.
    """

    kind: ClassVar[str] = "rotation"
    matrix: Float32[np.ndarray, "dim dim"]

    @classmethod
    def fit(cls: type[R], vectors: ArrayLike) -> R:
        """Fit the principal directions of vectors [n, dim] about the origin, strongest first.

        This is PCA without centring, so that inner products stay the same up to float32 rounding.
        Rows are read in blocks, so a memory map may be larger than memory. `VectorsError` without
        rows.
        """
        array = check_vectors(vectors)
        if len(array) == 0:
            raise VectorsError("vectors have no rows; a rotation needs at least one")
        return cls.from_second_moment(second_moment(float32_blocks(array), array.shape[1]))

    @classmethod
    def from_second_moment(cls: type[R], moment: Float64[np.ndarray, "dim dim"]) -> R:
        """Take the eigenvectors by descending eigenvalue, each with its largest entry positive."""
        _, directions = np.linalg.eigh(moment)
        directions = directions[:, ::-1]
        largest = np.abs(directions).argmax(axis=0)
        signs = np.sign(directions[largest, np.arange(len(largest))])
        return cls(np.ascontiguousarray(directions * signs, dtype=np.float32))

    @classmethod
    def random(cls: type[R], dim: int, seed: int = 0) -> R:
        """Draw a rotation uniformly at random: a control that every fitted one has to beat."""
        normal = np.random.default_rng(seed).standard_normal((dim, dim))
        q, r = np.linalg.qr(normal)
        # Without the signs the factor of a normal matrix is not uniform (Mezzadri, 2007).
        return cls(np.ascontiguousarray(q * np.sign(np.diag(r)), dtype=np.float32))

    @classmethod
    def identity(cls: type[R], dim: int) -> R:
        """Make the map that changes nothing, for models that were trained nested."""
        return cls(np.eye(dim, dtype=np.float32))

    @property
    def dim(self) -> int:
        """Width of the vectors, which stays the same."""
        return len(self.matrix)

    @property
    def preserves_inner_products(self) -> bool:
        """Always true of a rotation."""
        return True

    def apply(
        self, rows: Float32[np.ndarray, "n dim"], dims: int, side: Side
    ) -> Float32[np.ndarray, "n dims"]:
        """Rotate rows of either side to the first `dims` dimensions."""
        return np.asarray(rows @ self.matrix[:, :dims])

    def affine(self, side: Side = "documents") -> AffineMap | None:
        """Give the matrix, with an offset of zeros."""
        return AffineMap(self.matrix, np.zeros(self.dim, np.float32))

    def arrays(self) -> Arrays:
        """Give the matrix."""
        return {"matrix": self.matrix}

    def facts(self) -> Facts:
        """Give nothing: the matrix is all there is."""
        return {}

    @classmethod
    def from_arrays(cls: type[R], arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> R:
        """Rebuild the rotation; `ValueError` unless its matrix is orthogonal."""
        if not is_orthogonal(arrays["matrix"]):
            raise ValueError("its matrix is not orthogonal")
        return cls(arrays["matrix"])


def is_orthogonal(matrix: Float32[np.ndarray, "dim width"]) -> bool:
    """Check whether a matrix preserves inner products, as far as float32 can tell."""
    precise = matrix.astype(np.float64)
    if precise.shape != (len(precise), len(precise)):
        return False
    deviation = np.abs(precise.T @ precise - np.eye(len(precise))).max()
    return bool(deviation < len(precise) * 2.0**-22)


def float32_blocks(array: Float[np.ndarray, "n dim"]) -> Iterator[Float32[np.ndarray, "m dim"]]:
    """Yield checked rows as float32, block by block."""
    for first_row in range(0, len(array), BLOCK_ROWS):
        block = array[first_row : first_row + BLOCK_ROWS]
        check_finite(block, "vectors", first_row)
        check_magnitude(block, "vectors", first_row)
        yield np.asarray(block, dtype=np.float32)
