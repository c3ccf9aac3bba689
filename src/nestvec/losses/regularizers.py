"""Regularisers that make prefixes robust to coding: spread over the sphere, and trained as bits."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nestvec.errors import InputError
from nestvec.losses.checks import (
    at_least_float32,
    autocast_off,
    check_embeddings,
    has_no_pairs,
    no_loss,
)
from nestvec.losses.nesting_dims import NestingDims, Weights
from nestvec.shapes import Float


def nested_spread_out(
    embeddings: Float[Tensor, "n dim"], dims: Sequence[int], weights: Weights = None
) -> Float[Tensor, ""]:
    """Σ over prefixes of weight × (mean(c)² + max(0, mean(c²) − 1/dim)), c the cosines of pairs.

    Zero when rows are as spread as random directions of that width (GOR: Zhang et al., 2017). Rows
    should embed different things, such as the queries of a batch. Models trained with it lose
    less when coded in few bits. Memory is that of dim × dim, not of all pairs.
    Computed in float32 at least, under autocast too. A batch of one row has no pairs: its loss is
    0, which a `UserWarning` says.
    """
    nesting = NestingDims.of(dims, check_embeddings(embeddings=embeddings), weights)
    n, rows = len(embeddings), at_least_float32(embeddings)
    if has_no_pairs(rows):
        return no_loss(rows)
    total = rows.new_zeros(())
    for dim, weight in zip(nesting.dims, nesting.weights, strict=True):
        unit = normalize(rows[:, :dim])
        # Σᵢⱼ cᵢⱼ = ‖Σ uᵢ‖² and Σᵢⱼ cᵢⱼ² = ‖UᵀU‖², both with the diagonal, which is n ones.
        mean = (unit.sum(0).square().sum() - unit.square().sum()) / (n * (n - 1))
        diagonal = unit.square().sum(1).square().sum()
        with autocast_off(unit):
            square = ((unit.T @ unit).square().sum() - diagonal) / (n * (n - 1))
        total = total + weight * (mean.square() + (square - 1 / dim).clamp(min=0))
    return total


def straight_through_sign(
    embeddings: Float[Tensor, "n dim"], limit: float = 1.0
) -> Float[Tensor, "n dim"]:
    """Round entries to +1 where they are ≥ 0 and to −1 elsewhere, and pass gradients unchanged.

    NaN stays NaN, so that a loss shows it. Entries beyond ±`limit` get no gradient, so that they do
    not grow without end (Courbariaux et al., 2016). Put it before a nested loss to train prefixes
    for use as bits: the loss renormalises, so ±1 needs no scale.
    """
    check_embeddings(embeddings=embeddings)
    if not limit > 0:
        raise InputError(f"limit={limit} stops every gradient; use a number above 0")
    signs: Tensor = _Sign.apply(embeddings, limit)
    return signs


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, limit: float) -> Tensor:
        ctx.save_for_backward(values.abs() <= limit)
        signs = torch.where(values >= 0, 1.0, -1.0).to(values.dtype)
        return torch.where(values.isnan(), values, signs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return gradient * mask, None
