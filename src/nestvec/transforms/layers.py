"""Layers that a transform consists of, as plain arrays: what other libraries rebuild it from."""

from dataclasses import dataclass

import numpy as np

from nestvec.shapes import Float32


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """Rows times `matrix` plus `offset`, with negative entries set to 0 where `relu` is set."""

    matrix: Float32[np.ndarray, "dim width"]
    offset: Float32[np.ndarray, " width"]
    relu: bool = False


@dataclass(frozen=True)
class UnitLengthLayer:
    """Every row scaled to unit length."""


Layer = DenseLayer | UnitLengthLayer
