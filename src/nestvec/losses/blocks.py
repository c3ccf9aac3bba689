"""Nested softmax losses by prefix block sums: any number of cuts for one full-width product.

With blocks b₁, b₂, … between the cuts, products of prefixes are running sums,
S_k = S_{k−1} + Q[:, b_k] C[:, b_k]ᵀ, and cos_k = S_k ∘ (1/‖q_k‖)(1/‖c_k‖)ᵀ. With G_k = ∂L/∂cos_k
and A_k = Σ_{j≥k} G_j ∘ (1/‖q_j‖)(1/‖c_j‖)ᵀ the gradient is

    ∂L/∂Q[:, b_k] = A_k C[:, b_k] − (Σ_{j≥k} rowsum(G_j ∘ cos_j)/‖q_j‖²) ∘ Q[:, b_k]

and alike for C: three products of full width in all, where a loss per cut makes three of each cut's
width. Queries are taken some rows at a time, against all candidates: rows are short enough to know
their softmax at once, so each exponential is taken once, and gradients are made in the forward
pass. Beside the inputs' sizes, memory is (cuts + 3) × rows × candidates, and no more than some
times the candidates' however many cuts there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import normalize

from nestvec.losses.cuts import Cuts
from nestvec.losses.targets import Targets
from nestvec.shapes import Float

_TILE = 1 << 17
"""Scores of one cut at a time: half a MiB of float32 stays in a core's cache."""
_LARGE_TILE = 1 << 22
"""On a GPU, where starting a kernel costs more than a cache would save."""
_FEWEST_ROWS = 64
"""With fewer, products of many candidates would wait for memory."""
_KEPT, _KEPT_BY_CANDIDATES = 1 << 21, 3
"""Exponentials of all cuts that a processor keeps for the gradients: 8 MiB of float32, or thrice
what the candidates take. Fewer rows at a time cost time: a quarter at 48 cuts of 1,024 pairs."""
_SAFE_SCALE = 40.0
"""exp(±40) and sums of it lie well within float32, so cosines need no running maximum."""


def softmax_loss(
    queries: Float[Tensor, "q dim"],
    candidates: Float[Tensor, "n dim"],
    scale: Float[Tensor, ""],
    cuts: Cuts,
    targets: Targets,
    cosine: bool,
) -> Float[Tensor, ""]:
    """Equal to `reference.softmax_loss` in value and first gradient; has no second."""
    given = (queries, candidates, scale)
    if not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)):
        return _Batch.of(queries, candidates, float(scale), cuts, targets, cosine).loss()
    loss: Tensor = _PrefixBlocks.apply(queries, candidates, scale, cuts, targets, cosine)
    return loss


class _PrefixBlocks(torch.autograd.Function):
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
        batch = _Batch.of(queries, candidates, float(scale), cuts, targets, cosine)
        loss, *gradients = batch.loss_and_gradients()
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (*(gradient * saved for saved in ctx.saved_tensors), None, None, None)


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Queries against candidates, or some rows of them, with what is known before any product."""

    queries: Float[Tensor, "q dim"]
    candidates: Float[Tensor, "n dim"]
    scale: float
    cuts: Cuts
    each: tuple[float, ...]
    """The weight of one query at each cut."""
    targets: Targets
    by_query: Float[Tensor, "k q"] | None
    """1/‖q_k‖; None where scores are plain inner products."""
    by_candidate: Float[Tensor, "k n"] | None

    @classmethod
    def of(
        cls,
        queries: Float[Tensor, "q dim"],
        candidates: Float[Tensor, "n dim"],
        scale: float,
        cuts: Cuts,
        targets: Targets,
        cosine: bool,
    ) -> "_Batch":
        each = tuple(weight / len(queries) for weight in cuts.weights)
        norms = [inverse_norms(side, cuts) if cosine else None for side in (queries, candidates)]
        return cls(queries, candidates, scale, cuts, each, targets, *norms)

    def height(self, keep: bool) -> int:
        """How many rows to take at a time: few enough that their scores stay in the cache."""
        n, on_cpu = len(self.candidates), self.queries.device.type == "cpu"
        most = max(_FEWEST_ROWS, (_TILE if on_cpu else _LARGE_TILE) // n)
        if keep and on_cpu:
            kept = max(_KEPT, _KEPT_BY_CANDIDATES * self.candidates.numel())
            most = min(most, max(1, kept // (len(self.cuts.dims) * n)))
        tiles = -(-len(self.queries) // most)
        return -(-len(self.queries) // tiles)

    def tiles(self, keep: bool) -> Iterator[tuple[slice, "_Tile"]]:
        """Some rows after the other; all make their exponentials in the same memory."""
        height, k = self.height(keep), len(self.cuts.dims) if keep else 1
        room = self.queries.new_empty(k, height, len(self.candidates))
        for first in range(0, len(self.queries), height):
            rows = slice(first, min(first + height, len(self.queries)))
            norms = None if self.by_query is None else self.by_query[:, rows]
            targets = self.targets.of_rows(rows.start, rows.stop)
            part = replace(self, queries=self.queries[rows], targets=targets, by_query=norms)
            yield rows, _Tile(part, room[:, : len(part.queries)], keep)

    def loss(self) -> Float[Tensor, ""]:
        """The loss alone."""
        return torch.stack([tile.climb() for _, tile in self.tiles(keep=False)]).sum()

    def loss_and_gradients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The loss, and its gradient by queries, candidates and scale."""
        loss, by_scale = (self.queries.new_zeros(()) for _ in range(2))
        d_queries, d_candidates = torch.zeros_like(self.queries), torch.zeros_like(self.candidates)
        pulls = self.queries.new_zeros(len(self.cuts.dims), len(self.candidates))
        for rows, tile in self.tiles(keep=True):
            part = tile.part
            loss += tile.climb()
            tile.descend(d_queries[rows], d_candidates)
            pull_back(d_queries[rows], part.queries, tile.row_pulls, part.by_query, self.cuts)
            by_scale += tile.row_pulls.sum() / self.scale
            pulls += tile.column_pulls
        pull_back(d_candidates, self.candidates, pulls, self.by_candidate, self.cuts)
        return loss, d_queries, d_candidates, by_scale


class _Tile:
    """The scores of some queries with all candidates: up the cuts for the loss, down for gradients.

    The only mutable thing here: one buffer serves all cuts.
    """

    def __init__(self, part: _Batch, exponentials: Float[Tensor, "kept q n"], keep: bool) -> None:
        self.part, self.exponentials, self.keep = part, exponentials, keep
        queries, candidates, k = part.queries, len(part.candidates), len(part.cuts.dims)
        self.inverse = queries.new_empty(k, len(queries))
        """Weight / Σ exp(logits): what turns exponentials into gradients."""
        self.row_pulls = queries.new_empty(k, len(queries))
        """Σ over candidates of ∂L/∂logit × logit."""
        self.column_pulls = queries.new_zeros(k, candidates)

    def climb(self) -> Float[Tensor, ""]:
        """The loss; keeps what the way down needs."""
        part = self.part
        sums = torch.zeros_like(self.exponentials[0])
        logits = torch.empty_like(sums)
        out = part.targets.left_out(_full_scores(part))
        losses = []
        for k, block in enumerate(part.cuts.blocks):
            sums.addmm_(part.queries[:, block], part.candidates[:, block].T)
            self._scale(k, sums, logits)
            losses.append(self._softmax(k, logits, out))
        return torch.stack(losses).sum()

    def _scale(self, k: int, sums: Tensor, logits: Tensor) -> None:
        part = self.part
        if part.by_query is None or part.by_candidate is None:
            torch.mul(sums, part.scale, out=logits)
            return
        torch.mul(sums, part.scale * part.by_query[k, :, None], out=logits)
        logits.mul_(part.by_candidate[k])

    def _softmax(self, k: int, logits: Tensor, out: Tensor | None) -> Tensor:
        part, each = self.part, self.part.each[k]
        powers = self.exponentials[k if self.keep else 0]
        shift = self._exponentials(logits, out, powers)
        total = powers.sum(1)
        right = part.targets.share * logits[part.targets.rows, part.targets.columns]
        if self.keep:
            torch.div(each, total, out=self.inverse[k])
            self._pulls(k, logits.mul_(powers), each * right)
        return each * ((total.log() + shift).sum() - right.sum())

    def _exponentials(self, logits: Tensor, out: Tensor | None, powers: Tensor) -> Tensor | float:
        """Fill `powers` with exp(logits − shift), zero where left out; the shift."""
        if self.part.by_query is not None and abs(self.part.scale) <= _SAFE_SCALE:
            torch.exp(logits, out=powers)
            shift: Tensor | float = 0.0
        else:
            kept = logits if out is None else logits.masked_fill(out, -torch.inf)
            shift = kept.amax(1)
            torch.sub(logits, shift[:, None], out=powers).exp_()
        if out is not None:
            powers.masked_fill_(out, 0)
        return shift

    def _pulls(self, k: int, products: Tensor, right: Tensor) -> None:
        """Row and column sums of gradient × logit, of `products` = exponential × logit."""
        targets = self.part.targets
        torch.mul(products.sum(1), self.inverse[k], out=self.row_pulls[k])
        self.row_pulls[k].index_add_(0, targets.rows, right, alpha=-1)
        if self.part.by_candidate is not None:
            torch.mv(products.T, self.inverse[k], out=self.column_pulls[k])
            self.column_pulls[k].index_add_(0, targets.columns, right, alpha=-1)

    def descend(self, d_queries: Tensor, d_candidates: Tensor) -> None:
        """Add the gradients through the products; those through the norms are `pull_back`'s."""
        part = self.part
        suffix = torch.zeros_like(self.exponentials[0])
        for k, block in reversed([*enumerate(part.cuts.blocks)]):
            self._add_slopes(k, suffix)
            d_queries[:, block].addmm_(suffix, part.candidates[:, block])
            d_candidates[:, block].addmm_(suffix.T, part.queries[:, block])

    def _add_slopes(self, k: int, suffix: Tensor) -> None:
        """Add to `suffix` the gradient by the running sums of cut k."""
        part, targets = self.part, self.part.targets
        by_row = torch.full_like(self.inverse[k], part.scale)
        if part.by_query is not None:
            by_row *= part.by_query[k]
        slopes = self.exponentials[k].mul_((self.inverse[k] * by_row)[:, None])
        right = part.each[k] * targets.share * by_row[targets.rows]
        slopes[targets.rows, targets.columns] -= right
        if part.by_candidate is None:
            suffix += slopes
        else:
            suffix.addcmul_(slopes, part.by_candidate[k])


def inverse_norms(vectors: Float[Tensor, "n dim"], cuts: Cuts) -> Float[Tensor, "k n"]:
    # The least norm is that of torch.nn.functional.normalize.
    return cuts.prefix_sums(vectors.square()).sqrt().clamp_(min=1e-12).reciprocal_()


def _full_scores(part: _Batch) -> Float[Tensor, "q n"] | None:
    """Scores at full width, where some are left out by them."""
    if part.targets.margin is None:
        return None
    if part.by_query is None:
        return part.queries @ part.candidates.T
    return normalize(part.queries) @ normalize(part.candidates).T


def pull_back(
    gradient: Float[Tensor, "n dim"],
    vectors: Float[Tensor, "n dim"],
    pulls: Float[Tensor, "k n"],
    inverse_norms: Float[Tensor, "k n"] | None,
    cuts: Cuts,
) -> None:
    """Take from the gradient what only changes lengths, which cosines do not see."""
    if inverse_norms is None:
        return
    radial = (pulls * inverse_norms.square()).flip(0).cumsum(0).flip(0)
    for block, of_cut in zip(cuts.blocks, radial, strict=True):
        gradient[:, block].addcmul_(vectors[:, block], of_cut[:, None], value=-1)
