"""The widths at which prefixes are trained, and how much each counts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nestvec.errors import DimsError, InputError
from nestvec.shapes import Float
from nestvec.vectors import check_dims

Weights = Sequence[float] | str | None
"""One number per cut in the order of `dims`; "uniform" and None: 1 each; "front": 2 for the
smallest and 1 for the others, which gave +3 points at 8 dims and cost 0.1 at 512 and more
(Kusupati et al., 2022, "8boost")."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """Prefix widths, rising, and their weights."""

    dims: tuple[int, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, dims: Sequence[int], width: int, weights: Weights = None) -> "Cuts":
        """Cuts of vectors of this width, given in any order with `weights` in the same.

        Raises `DimsError` for no cut, one given twice, or one outside 1..width, and `InputError`
        for weights of another number, or not above 0 and finite.
        """
        checked = [check_dims(dim, width) for dim in dims]
        if not checked or len(set(checked)) < len(checked):
            raise DimsError(
                f"dims={list(dims)} names {'a cut twice' if checked else 'no cut'}; "
                "give each width once, such as [64, 128, 256]"
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
    def spanning(cls, dims: Sequence[int], weights: Weights = None) -> "Cuts":
        """Cuts of vectors as wide as the largest of them; errors as for `of`."""
        return cls.of(dims, max([1, *dims]), weights)

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The dimensions that each cut adds to the one before."""
        return tuple(map(slice, (0, *self.dims[:-1]), self.dims))

    def wider(self, by: int) -> "Cuts":
        """The same cuts of vectors with so many dimensions put in front."""
        return Cuts(tuple(dim + by for dim in self.dims), self.weights)

    def prefix_sums(self, products: Float[Tensor, "n dim"]) -> Float[Tensor, "k n"]:
        """The sums over each prefix, one pass over all dimensions."""
        return torch.stack([products[:, block].sum(1) for block in self.blocks]).cumsum(0)


def check_weights(weights: Weights, count: int, smallest: int = 0) -> list[float]:
    """One weight per cut, the `smallest` being at that place, else `InputError`."""
    if weights is None or weights == "uniform":
        return [1.0] * count
    if weights == "front":
        return [2.0 if place == smallest else 1.0 for place in range(count)]
    if isinstance(weights, str) or len(weights) != count:
        raise InputError(
            f"weights={weights!r} for {count} cuts; give one number per cut, "
            "or 'uniform' or 'front'"
        )
    values = [float(weight) for weight in weights]
    if not all(0 < value < math.inf for value in values):
        raise InputError(
            f"weights={values} are to be above 0 and finite; leave out a cut that is not trained"
        )
    return values
