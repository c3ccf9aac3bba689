"""Nested softmax losses in Triton: no part of a batch × batch table is ever stored.

The sums and gradients of `blocks`, tile by tile: by rising prefixes, each folds its scores into a
running log-sum-exp; the backward pass makes the scores again, then subtracts block after block by
falling prefixes, which costs small prefixes some digits of float32 that `blocks` does not lose.
Written for CUDA and tested in Triton's interpreter: see docs/how-to/losses.md.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nestvec.errors import InputError
from nestvec.losses.blocks import inverse_norms, project_out_norms
from nestvec.losses.nesting_dims import NestingDims
from nestvec.losses.targets import Targets
from nestvec.shapes import Float

STEP = 16
"""Dimensions per product, the fewest that Triton multiplies; blocks are padded to multiples."""
_ROWS, _COLUMNS = 64, 64
"""Rows and columns of a tile."""


def softmax_loss(
    queries: Float[Tensor, "q dim"],
    candidates: Float[Tensor, "n dim"],
    scale: Float[Tensor, ""],
    nesting: NestingDims,
    targets: Targets,
    cosine: bool,
) -> Float[Tensor, ""]:
    """Compute `reference.softmax_loss` with its first gradient, over all candidates.

    Raises `InputError` for other types than float32, and for candidates that are left out by
    `excluded` or `margin`.
    """
    if targets.excluded is not None or targets.margin is not None or scale.dtype != torch.float32:
        raise InputError(
            "method='triton' takes float32 and neither excluded nor margin; use method='blocks'"
        )
    loss: Tensor = _Fused.apply(queries, candidates, scale, nesting, targets, cosine)
    return loss


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """Blocks padded to multiples of a step, so that every prefix ends with a step."""

    columns: Tensor
    """The padded position of each dimension up to the last prefix."""
    block_ends: Tensor
    """Per step: the number of the prefix that it completes, or −1."""

    @classmethod
    def of(cls, nesting: NestingDims, device: torch.device) -> "_Layout":
        columns: list[int] = []
        block_ends: list[int] = []
        for k, block in enumerate(nesting.blocks):
            width = block.stop - block.start
            steps = -(-width // STEP)
            start = len(block_ends) * STEP
            columns += range(start, start + width)
            block_ends += [-1] * (steps - 1) + [k]
        ends = torch.tensor(block_ends, dtype=torch.int32, device=device)
        return cls(torch.tensor(columns, device=device), ends)

    @property
    def width(self) -> int:
        """The width of a padded row."""
        return len(self.block_ends) * STEP

    def padded(self, vectors: Tensor) -> Tensor:
        """Copy the dimensions up to the last prefix to their padded positions."""
        padded = vectors.new_zeros(len(vectors), self.width)
        padded[:, self.columns] = vectors[:, : len(self.columns)]
        return padded


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        candidates: Tensor,
        scale: Tensor,
        nesting: NestingDims,
        targets: Targets,
        cosine: bool,
    ) -> Tensor:
        from nestvec.losses import fused_kernels as kernels

        layout = _Layout.of(nesting, queries.device)
        norms = [_inverse(vectors, nesting, cosine) for vectors in (queries, candidates)]
        q, n, k = len(queries), len(candidates), len(nesting.dims)
        highest = queries.new_full((k, q), -torch.inf)
        total = queries.new_zeros(k, q)
        kernels.log_sums[(-(-q // _ROWS),)](
            layout.padded(queries), layout.padded(candidates), *norms, layout.block_ends, highest,
            total, q, n, float(scale), len(layout.block_ends),
            WIDTH=layout.width, ROWS=_ROWS, COLUMNS=_COLUMNS, STEP=STEP,
        )  # fmt: skip
        log_sum = highest + total.log()
        weights = queries.new_tensor(nesting.weights) / q
        positive = targets.share * _pair_logits(
            queries, candidates, float(scale), nesting, targets, norms
        )
        ctx.save_for_backward(queries, candidates, scale, *norms, log_sum, weights, positive)
        ctx.nesting, ctx.targets, ctx.cosine, ctx.layout = nesting, targets, cosine, layout
        return (weights * (log_sum.sum(1) - positive.sum(1))).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (
            queries, candidates, scale, query_norms, candidate_norms, log_sum, weights, positive
        ) = ctx.saved_tensors  # fmt: skip
        rows, columns = ctx.targets.rows, ctx.targets.columns
        sums = _LogSums(ctx.layout, float(scale), weights, log_sum)
        d_queries, row_sums = sums.gradient(
            queries, candidates, query_norms, candidate_norms, rows_are_queries=True
        )
        d_candidates, column_sums = sums.gradient(
            candidates, queries, candidate_norms, query_norms, rows_are_queries=False
        )
        # So far of the log-sum-exps alone; the targets are subtracted now.
        factors = sums.scale * weights[:, None] * ctx.targets.share
        factors = factors * query_norms[:, rows] * candidate_norms[:, columns]
        slopes = _by_dimension(factors, ctx.nesting)
        width = slopes.shape[1]
        d_queries[:, :width].index_add_(0, rows, -slopes * candidates[columns, :width])
        d_candidates[:, :width].index_add_(0, columns, -slopes * queries[rows, :width])
        row_sums.index_add_(1, rows, -weights[:, None] * positive)
        column_sums.index_add_(1, columns, -weights[:, None] * positive)
        if ctx.cosine:
            project_out_norms(d_queries, queries, row_sums, query_norms, ctx.nesting)
            project_out_norms(d_candidates, candidates, column_sums, candidate_norms, ctx.nesting)
        d_scale = row_sums.sum() / scale
        gradients = (upstream * gradient for gradient in (d_queries, d_candidates, d_scale))
        return (*gradients, None, None, None)


@dataclass(frozen=True, slots=True, eq=False)
class _LogSums:
    """The sum over prefixes and queries of weight × log-sum-exp."""

    layout: _Layout
    scale: float
    query_weights: Float[Tensor, " k"]
    log_sum: Float[Tensor, "k q"]

    def gradient(
        self,
        rows: Tensor,
        columns: Tensor,
        row_norms: Tensor,
        column_norms: Tensor,
        rows_are_queries: bool,
    ) -> tuple[Float[Tensor, "n dim"], Float[Tensor, "k n"]]:
        """Compute the gradient by `rows` at fixed norms, and Σ gradient × logit per prefix."""
        from nestvec.losses import fused_kernels as kernels

        layout = self.layout
        gradient = rows.new_zeros(len(rows), layout.width)
        logit_grad_sums = rows.new_zeros(len(self.query_weights), len(rows))
        kernels.gradients[(-(-len(rows) // _ROWS),)](
            layout.padded(rows), layout.padded(columns), row_norms, column_norms, self.log_sum,
            self.query_weights, layout.block_ends, gradient, logit_grad_sums, len(rows),
            len(columns), self.scale, len(layout.block_ends), WIDTH=layout.width, ROWS=_ROWS,
            COLUMNS=_COLUMNS, STEP=STEP, ROWS_ARE_QUERIES=rows_are_queries,
        )  # fmt: skip
        unpadded = torch.zeros_like(rows)
        unpadded[:, : len(layout.columns)] = gradient[:, layout.columns]
        return unpadded, logit_grad_sums


def _inverse(vectors: Tensor, nesting: NestingDims, cosine: bool) -> Tensor:
    if cosine:
        return inverse_norms(vectors, nesting)
    return vectors.new_ones(len(nesting.dims), len(vectors))


def _pair_logits(
    queries: Tensor,
    candidates: Tensor,
    scale: float,
    nesting: NestingDims,
    targets: Targets,
    norms: list[Tensor],
) -> Float[Tensor, "k pairs"]:
    """Compute the logits of queries and their positives, at every prefix."""
    sums = nesting.prefix_sums(queries[targets.rows] * candidates[targets.columns])
    return scale * sums * norms[0][:, targets.rows] * norms[1][:, targets.columns]


def _by_dimension(
    factors: Float[Tensor, "k pairs"], nesting: NestingDims
) -> Float[Tensor, "pairs dims"]:
    """Sum, for each dimension, the factors of the prefixes that contain it."""
    suffix = factors.flip(0).cumsum(0).flip(0)
    widths = [block.stop - block.start for block in nesting.blocks]
    return suffix.repeat_interleave(suffix.new_tensor(widths, dtype=torch.int64), 0).T
