"""Linear maps that need not preserve inner products, and prefixes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from nestvec.deprecation import renamed_fields, warn_renamed
from nestvec.errors import VectorsError
from nestvec.shapes import Float32
from nestvec.transforms.base import AffineMap, Arrays, Facts, Side, Transform, register_kind
from nestvec.transforms.layers import DenseLayer, Layer, UnitLengthLayer
from nestvec.transforms.rotation import OrthogonalTransform, float32_blocks, second_moment
from nestvec.vectors import check_dims, check_vectors, normalize

L = TypeVar("L", bound="LinearTransform")


@register_kind
@dataclass(frozen=True, eq=False)
class LinearTransform(Transform):
    """Rows times `matrix`, plus `offset`, for both sides; scores at full width change."""

    kind: ClassVar[str] = "linear"
    matrix: Float32[np.ndarray, "dim width"]
    offset: Float32[np.ndarray, " width"]

    @classmethod
    def fit_centered_pca(cls: type[L], vectors: ArrayLike) -> L:
        """Fit centred PCA: subtract the mean, then put directions of most variance first.

        Subtracting the mean changes inner products and cosines, at full width too; `Rotation.fit`
        preserves them. `VectorsError` without rows.
        """
        array = check_vectors(vectors)
        if len(array) == 0:
            raise VectorsError("vectors have no rows; centring needs at least one")
        moment, total = np.zeros((array.shape[1],) * 2), np.zeros(array.shape[1])
        for block in float32_blocks(array):
            moment += second_moment(iter([block]), array.shape[1])
            total += block.sum(axis=0, dtype=np.float64)
        mean = total / len(array)
        covariance = moment / len(array) - np.outer(mean, mean)
        matrix = OrthogonalTransform.from_second_moment(covariance).matrix
        return cls(matrix, np.asarray(-mean @ matrix, dtype=np.float32))

    @classmethod
    def fit_centred(cls: type[L], vectors: ArrayLike) -> L:
        """Call `fit_centered_pca`, by its old name."""
        warn_renamed("Linear.fit_centred", "Linear.fit_centered_pca")
        return cls.fit_centered_pca(vectors)

    @property
    def dim(self) -> int:
        """Width of the input vectors."""
        return len(self.matrix)

    @property
    def width(self) -> int:
        """Width of the output vectors."""
        return int(self.matrix.shape[1])

    def apply(
        self, rows: Float32[np.ndarray, "n dim"], dims: int, side: Side
    ) -> Float32[np.ndarray, "n dims"]:
        """Multiply rows of either side and add the offset."""
        return np.asarray(rows @ self.matrix[:, :dims] + self.offset[:dims])

    def affine(self, side: Side = "documents") -> AffineMap | None:
        """Give the matrix and the offset."""
        return AffineMap(self.matrix, self.offset)

    def arrays(self) -> Arrays:
        """Give the matrix and the offset."""
        return {"matrix": self.matrix, "offset": self.offset}

    def facts(self) -> Facts:
        """Give nothing: matrix and offset are all there is."""
        return {}

    @classmethod
    def from_arrays(cls: type[L], arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> L:
        """Rebuild the map; `ValueError` where matrix and offset have different widths."""
        if arrays["matrix"].shape[1:] != arrays["offset"].shape:
            raise ValueError("its matrix and its offset have different widths")
        return cls(arrays["matrix"], arrays["offset"])


@register_kind
@renamed_fields({"given": "input_dim", "kept": "prefix_dims"})
@dataclass(frozen=True, eq=False)
class Prefix(Transform):
    """The first `prefix_dims` of `input_dim` dimensions, renormalised to unit length."""

    kind: ClassVar[str] = "prefix"
    input_dim: int
    prefix_dims: int

    def __post_init__(self) -> None:
        check_dims(self.prefix_dims, self.input_dim)

    @property
    def dim(self) -> int:
        """Width of the input vectors."""
        return self.input_dim

    @property
    def width(self) -> int:
        """Width of the output vectors."""
        return self.prefix_dims

    def apply(
        self, rows: Float32[np.ndarray, "n dim"], dims: int, side: Side
    ) -> Float32[np.ndarray, "n dims"]:
        """Renormalise the whole prefix, then take the first `dims` dimensions of it."""
        return np.asarray(normalize(rows[:, : self.prefix_dims])[:, :dims])

    def affine(self, side: Side = "documents") -> AffineMap | None:
        """Return None, because every row is divided by another length."""
        return None

    def layers(self, side: Side) -> list[Layer]:
        """Give a matrix that selects the dimensions, and the scaling to unit length."""
        selection = np.eye(self.dim, self.width, dtype=np.float32)
        return [DenseLayer(selection, np.zeros(self.width, np.float32)), UnitLengthLayer()]

    def arrays(self) -> Arrays:
        """Give nothing: two numbers are all there is."""
        return {}

    def facts(self) -> Facts:
        """Give both widths, by the names that files have for them."""
        return {"given": self.input_dim, "kept": self.prefix_dims}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "Prefix":
        """Rebuild the prefix from both widths."""
        return cls(int(facts["given"]), int(facts["kept"]))
