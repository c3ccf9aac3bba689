"""Nesting dims: the prefix widths that a loss trains, with the weight of each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nestvec.errors import DimsError, InputError
from nestvec.shapes import Float
from nestvec.vectors import check_dims

Weights = Sequence[float] | str | None
"""A weight per prefix in the order of `dims`; "uniform" and None: 1 each; "front": 2 for the
smallest and 1 for the others, which gave +3 points at 8 dims and cost 0.1 at 512 and more
(Kusupati et al., 2022, "8boost")."""


@dataclass(frozen=True, slots=True)
class NestingDims:
    """Prefix widths in rising order, and their weights."""

    dims: tuple[int, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, dims: Sequence[int], width: int, weights: Weights = None) -> "NestingDims":
        """Check and sort the nesting dims of vectors of this width; `weights` follow `dims`.

        Raises `DimsError` for no dims, repeated ones, or any outside 1..width, and `InputError`
        for weights that are too few or too many, or not above 0 and finite.
        """
        checked = [check_dims(dim, width) for dim in dims]
        if not checked or len(set(checked)) < len(checked):
            raise DimsError(
                f"dims={list(dims)} {'repeats a width' if checked else 'names no width'}; "
                "pass each width once, such as [64, 128, 256]"
            )
        pairs = sorted(
            zip(
                checked,
                check_weights(weights, len(checked), checked.index(min(checked))),
                strict=True,
            )
        )
        return cls(tuple(dim for dim, _ in pairs), tuple(weight for _, weight in pairs))

    @classmethod
    def for_widest(cls, dims: Sequence[int], weights: Weights = None) -> "NestingDims":
        """Check the nesting dims of vectors as wide as the largest of them; errors as for `of`."""
        return cls.of(dims, max([1, *dims]), weights)

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The dimensions that each prefix adds to the one before."""
        return tuple(map(slice, (0, *self.dims[:-1]), self.dims))

    def offset(self, dims: int) -> "NestingDims":
        """Shift all widths by `dims`, for vectors with so many dimensions put in front."""
        return NestingDims(tuple(dim + dims for dim in self.dims), self.weights)

    def prefix_sums(self, products: Float[Tensor, "n dim"]) -> Float[Tensor, "k n"]:
        """Sum over each prefix, in one pass over all dimensions."""
        return torch.stack([products[:, block].sum(1) for block in self.blocks]).cumsum(0)


def check_weights(weights: Weights, count: int, smallest: int = 0) -> list[float]:
    """Give a weight per prefix, where the smallest prefix is at position `smallest`.

    Raises `InputError` for weights that are too few or too many, or not above 0 and finite.
    """
    if weights is None or weights == "uniform":
        return [1.0] * count
    if weights == "front":
        return [2.0 if position == smallest else 1.0 for position in range(count)]
    if isinstance(weights, str) or len(weights) != count:
        raise InputError(
            f"weights={weights!r} for {count} prefixes; pass one number per prefix, "
            "or 'uniform' or 'front'"
        )
    values = [float(weight) for weight in weights]
    if not all(0 < value < math.inf for value in values):
        raise InputError(
            f"weights={values} must be above 0 and finite; leave out a prefix that is not trained"
        )
    return values
