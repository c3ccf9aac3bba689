"""Nested softmax losses in Triton: nothing of batch × batch is held, not even for some rows.

The sums and gradients of `blocks`, tile by tile: going up the cuts, each folds its scores into a
running log-sum-exp; the backward pass makes the scores again, then takes block after block off them
on the way down, which costs small cuts some digits of float32 that `blocks` does not lose. Written
for CUDA and tested in Triton's interpreter: see docs/how-to/losses.md.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nestvec.errors import InputError
from nestvec.losses.blocks import inverse_norms, pull_back
from nestvec.losses.cuts import Cuts
from nestvec.losses.targets import Targets
from nestvec.shapes import Float

STEP = 16
"""Dimensions per product, the fewest that Triton multiplies; blocks are padded to multiples."""
_ROWS, _COLUMNS = 64, 64


def softmax_loss(
    queries: Float[Tensor, "q dim"],
    candidates: Float[Tensor, "n dim"],
    scale: Float[Tensor, ""],
    cuts: Cuts,
    targets: Targets,
    cosine: bool,
) -> Float[Tensor, ""]:
    """`reference.softmax_loss` in value and first gradient, for all candidates.

    float32 is needed; candidates cannot be left out, by `excluded` or by `margin`.
    """
    if targets.excluded is not None or targets.margin is not None or scale.dtype != torch.float32:
        raise InputError(
            "method='triton' takes float32 and neither excluded nor margin; use method='blocks'"
        )
    loss: Tensor = _Fused.apply(queries, candidates, scale, cuts, targets, cosine)
    return loss


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """Blocks padded to whole steps, so that every cut ends with one."""

    columns: Tensor
    """Where each dimension up to the last cut lies."""
    ends: Tensor
    """Per step: the cut that it completes, or −1."""

    @classmethod
    def of(cls, cuts: Cuts, device: torch.device) -> "_Layout":
        columns: list[int] = []
        ends: list[int] = []
        for cut, block in enumerate(cuts.blocks):
            width = block.stop - block.start
            steps = -(-width // STEP)
            first = len(ends) * STEP
            columns += range(first, first + width)
            ends += [-1] * (steps - 1) + [cut]
        as_tensor = torch.tensor(ends, dtype=torch.int32, device=device)
        return cls(torch.tensor(columns, device=device), as_tensor)

    @property
    def width(self) -> int:
        """Of a padded row."""
        return len(self.ends) * STEP

    def padded(self, vectors: Tensor) -> Tensor:
        """The dimensions up to the last cut, in their places."""
        wide = vectors.new_zeros(len(vectors), self.width)
        wide[:, self.columns] = vectors[:, : len(self.columns)]
        return wide


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        candidates: Tensor,
        scale: Tensor,
        cuts: Cuts,
        targets: Targets,
        cosine: bool,
    ) -> Tensor:
        from nestvec.losses import fused_kernels as kernels

        layout = _Layout.of(cuts, queries.device)
        norms = [_inverse(side, cuts, cosine) for side in (queries, candidates)]
        q, n, k = len(queries), len(candidates), len(cuts.dims)
        highest = queries.new_full((k, q), -torch.inf)
        total = queries.new_zeros(k, q)
        kernels.log_sums[(-(-q // _ROWS),)](
            layout.padded(queries), layout.padded(candidates), *norms, layout.ends, highest, total,
            q, n, float(scale), len(layout.ends),
            WIDTH=layout.width, ROWS=_ROWS, COLUMNS=_COLUMNS, STEP=STEP,
        )  # fmt: skip
        log_sum = highest + total.log()
        each = queries.new_tensor(cuts.weights) / q
        right = targets.share * _pair_logits(
            queries, candidates, float(scale), cuts, targets, norms
        )
        ctx.save_for_backward(queries, candidates, scale, *norms, log_sum, each, right)
        ctx.cuts, ctx.targets, ctx.cosine, ctx.layout = cuts, targets, cosine, layout
        return (each * (log_sum.sum(1) - right.sum(1))).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        queries, candidates, scale, by_query, by_candidate, log_sum, each, right = ctx.saved_tensors
        rows, columns = ctx.targets.rows, ctx.targets.columns
        sums = _LogSums(ctx.layout, float(scale), each, log_sum)
        d_queries, row_pulls = sums.gradient(queries, candidates, by_query, by_candidate, True)
        d_candidates, column_pulls = sums.gradient(
            candidates, queries, by_candidate, by_query, False
        )
        # So far of the log-sum-exps alone; now what the targets take off.
        taken = sums.scale * each[:, None] * ctx.targets.share
        taken = taken * by_query[:, rows] * by_candidate[:, columns]
        slopes = _by_dimension(taken, ctx.cuts)
        width = slopes.shape[1]
        d_queries[:, :width].index_add_(0, rows, -slopes * candidates[columns, :width])
        d_candidates[:, :width].index_add_(0, columns, -slopes * queries[rows, :width])
        row_pulls.index_add_(1, rows, -each[:, None] * right)
        column_pulls.index_add_(1, columns, -each[:, None] * right)
        if ctx.cosine:
            pull_back(d_queries, queries, row_pulls, by_query, ctx.cuts)
            pull_back(d_candidates, candidates, column_pulls, by_candidate, ctx.cuts)
        by_scale = row_pulls.sum() / scale
        found = (upstream * gradient for gradient in (d_queries, d_candidates, by_scale))
        return (*found, None, None, None)


@dataclass(frozen=True, slots=True, eq=False)
class _LogSums:
    """Σ over cuts and queries of weight × log-sum-exp."""

    layout: _Layout
    scale: float
    each: Float[Tensor, " k"]
    log_sum: Float[Tensor, "k q"]

    def gradient(
        self, own: Tensor, other: Tensor, by_own: Tensor, by_other: Tensor, own_asks: bool
    ) -> tuple[Float[Tensor, "n dim"], Float[Tensor, "k n"]]:
        """By one side's rows (but for their lengths), and its Σ gradient × logit per cut."""
        from nestvec.losses import fused_kernels as kernels

        gradient = own.new_zeros(len(own), self.layout.width)
        pulls = own.new_zeros(len(self.each), len(own))
        kernels.gradients[(-(-len(own) // _ROWS),)](
            self.layout.padded(own), self.layout.padded(other), by_own, by_other, self.log_sum,
            self.each, self.layout.ends, gradient, pulls, len(own), len(other), self.scale,
            len(self.layout.ends), WIDTH=self.layout.width, ROWS=_ROWS, COLUMNS=_COLUMNS,
            STEP=STEP, OWN_ASKS=own_asks,
        )  # fmt: skip
        whole = torch.zeros_like(own)
        whole[:, : len(self.layout.columns)] = gradient[:, self.layout.columns]
        return whole, pulls


def _inverse(side: Tensor, cuts: Cuts, cosine: bool) -> Tensor:
    return inverse_norms(side, cuts) if cosine else side.new_ones(len(cuts.dims), len(side))


def _pair_logits(
    queries: Tensor,
    candidates: Tensor,
    scale: float,
    cuts: Cuts,
    targets: Targets,
    norms: list[Tensor],
) -> Float[Tensor, "k pairs"]:
    """The logits of what belongs together, at every cut."""
    sums = cuts.prefix_sums(queries[targets.rows] * candidates[targets.columns])
    return scale * sums * norms[0][:, targets.rows] * norms[1][:, targets.columns]


def _by_dimension(of_cuts: Float[Tensor, "k pairs"], cuts: Cuts) -> Float[Tensor, "pairs dims"]:
    """For each dimension the sum over the cuts that it is part of."""
    suffix = of_cuts.flip(0).cumsum(0).flip(0)
    widths = [block.stop - block.start for block in cuts.blocks]
    return suffix.repeat_interleave(suffix.new_tensor(widths, dtype=torch.int64), 0).T
