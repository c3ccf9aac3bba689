"""The map of a Matryoshka-Adaptor: a matrix and maybe a hidden layer, for each side."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np

from nestvec.shapes import Float32
from nestvec.transforms.base import (
    AffineMap,
    Arrays,
    Facts,
    Side,
    Transform,
    arrays_below,
    register_kind,
)
from nestvec.transforms.layers import DenseLayer, Layer, UnitLengthLayer
from nestvec.transforms.rotation import is_orthogonal

A = TypeVar("A", bound="ResidualTransform")


@dataclass(frozen=True, eq=False)
class Residual:
    """The output of a hidden layer: max(0, x · `weight_in` + `bias`) · `weight_out`."""

    weight_in: Float32[np.ndarray, "dim hidden"]
    bias: Float32[np.ndarray, " hidden"]
    weight_out: Float32[np.ndarray, "hidden width"]

    def arrays(self) -> Arrays:
        """Give all arrays, by the names that files have for them."""
        return {"into": self.weight_in, "bias": self.bias, "out": self.weight_out}


@dataclass(frozen=True, eq=False)
class Map:
    """The function x · `matrix`, plus the residual if there is one."""

    matrix: Float32[np.ndarray, "dim width"]
    residual: Residual | None = None

    def __call__(self, rows: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n width"]:
        """Map rows, without a change of their length afterwards."""
        mapped = rows @ self.matrix
        if self.residual is not None:
            hidden = rows @ self.residual.weight_in + self.residual.bias
            mapped += np.maximum(hidden, 0, out=hidden) @ self.residual.weight_out
        return np.asarray(mapped)

    def arrays(self) -> Arrays:
        """Give all arrays by name, as a file holds them."""
        return {"matrix": self.matrix, **(self.residual.arrays() if self.residual else {})}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Map":
        """Rebuild the map; `ValueError` or `KeyError` for shapes that do not fit together."""
        matrix = arrays["matrix"]
        if len(arrays) == 1:
            return cls(matrix)
        residual = Residual(arrays["into"], arrays["bias"], arrays["out"])
        dim, width = matrix.shape
        hidden = len(residual.bias)
        if (residual.weight_in.shape, residual.weight_out.shape) != (
            (dim, hidden),
            (hidden, width),
        ):
            raise ValueError("the shapes of its layers do not fit together")
        return cls(matrix, residual)

    def layers(self) -> list[Layer]:
        """Give one dense layer, or two: x = relu(x) − relu(−x) carries x past the hidden layer."""
        dim, width = self.matrix.shape
        no_offset = np.zeros(width, np.float32)
        if self.residual is None:
            return [DenseLayer(self.matrix, no_offset)]
        eye, no_bias = np.eye(dim, dtype=np.float32), np.zeros(2 * dim, np.float32)
        weight_in = np.concatenate([eye, -eye, self.residual.weight_in], axis=1)
        bias = np.concatenate([no_bias, self.residual.bias])
        weight_out = np.concatenate([self.matrix, -self.matrix, self.residual.weight_out])
        return [DenseLayer(weight_in, bias, relu=True), DenseLayer(weight_out, no_offset)]


@register_kind
@dataclass(frozen=True, eq=False)
class ResidualTransform(Transform):
    """Documents and queries through their maps; every row keeps its length.

    After Matryoshka-Adaptor (Yoon et al., 2407.20243): a residual on the embedding. Applying it
    needs NumPy alone; `nestvec.adapt.MatryoshkaAdaptor` adds fitting and the report of a fit.
    """

    kind: ClassVar[str] = "adaptor"
    documents: Map
    queries: Map
    nesting_dims: tuple[int, ...]
    """The prefix widths it was trained for, ascending."""
    fitted_front_energy: float | None = None
    """Share of the fitted rows' energy in the first eighth of the output."""

    @classmethod
    def from_rotation(
        cls: type[A], matrix: Float32[np.ndarray, "dim dim"], nesting_dims: tuple[int, ...]
    ) -> A:
        """Make an adaptor that does no more than rotate."""
        shared = Map(matrix)
        return cls(shared, shared, nesting_dims)

    @property
    def dim(self) -> int:
        """Width of the input vectors."""
        return len(self.documents.matrix)

    @property
    def width(self) -> int:
        """Width of the output vectors."""
        return int(self.documents.matrix.shape[1])

    @property
    def dims(self) -> tuple[int, ...]:
        """The prefix widths it was trained for, ascending."""
        return self.nesting_dims

    @cached_property
    def preserves_inner_products(self) -> bool:
        """True if it does no more than rotate."""
        is_linear = self.documents.residual is None and not self.two_sided
        return is_linear and is_orthogonal(self.documents.matrix)

    @property
    def front_energy(self) -> float | None:
        """Share of energy in the first eighth of the output, as measured on the fitted rows."""
        return self.fitted_front_energy

    @property
    def two_sided(self) -> bool:
        """True if queries are mapped differently from documents."""
        return self.queries is not self.documents

    def map_of(self, side: Side) -> Map:
        """Give the map of one side."""
        return self.documents if side == "documents" else self.queries

    def apply(
        self, rows: Float32[np.ndarray, "n dim"], dims: int, side: Side
    ) -> Float32[np.ndarray, "n dims"]:
        """Map rows, and scale each back to the length that it had."""
        mapped = self.map_of(side)(rows)
        input_norms, output_norms = (
            np.sqrt(np.einsum("nd,nd->n", a, a, dtype=np.float64)) for a in (rows, mapped)
        )
        scale = np.divide(
            input_norms, output_norms, out=np.ones_like(input_norms), where=output_norms > 0
        )
        return np.asarray(mapped[:, :dims] * scale.astype(np.float32)[:, None])

    def affine(self, side: Side = "documents") -> AffineMap | None:
        """Give None: rows keep their length. `matrix` is the map without that."""
        return None

    def layers(self, side: Side) -> list[Layer]:
        """Give the layers of one side's map, and the scaling to unit length."""
        return [*self.map_of(side).layers(), UnitLengthLayer()]

    @property
    def matrix(self) -> Float32[np.ndarray, "dim width"] | None:
        """The matrix for documents, before their length is restored; None: not linear."""
        return None if self.documents.residual else self.documents.matrix

    def arrays(self) -> Arrays:
        """Give the arrays of both maps, or of the one that both sides share."""
        sides = {
            "documents": self.documents,
            **({"queries": self.queries} if self.two_sided else {}),
        }
        return {
            f"{side}.{name}": array
            for side, side_map in sides.items()
            for name, array in side_map.arrays().items()
        }

    def facts(self) -> Facts:
        """Give dims and front energy, by the names that files have for them."""
        return {"sizes": list(self.nesting_dims), "front": self.fitted_front_energy}

    @classmethod
    def from_arrays(cls: type[A], arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> A:
        """Rebuild the adaptor; `ValueError` where shapes do not fit together."""
        documents = Map.from_arrays(arrays_below(arrays, "documents"))
        query_arrays = arrays_below(arrays, "queries")
        queries = Map.from_arrays(query_arrays) if query_arrays else documents
        nesting_dims = tuple(int(dims) for dims in facts["sizes"])
        return cls(documents, queries, nesting_dims, facts["front"])
