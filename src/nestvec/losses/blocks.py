"""Nested softmax losses by prefix block sums: any number of prefixes for one full-width product.

With blocks b₁, b₂, … between the nesting dims, products of prefixes are running sums,
S_k = S_{k−1} + Q[:, b_k] C[:, b_k]ᵀ, and cos_k = S_k ∘ (1/‖q_k‖)(1/‖c_k‖)ᵀ. With G_k = ∂L/∂cos_k
and A_k = Σ_{j≥k} G_j ∘ (1/‖q_j‖)(1/‖c_j‖)ᵀ the gradient is

    ∂L/∂Q[:, b_k] = A_k C[:, b_k] − (Σ_{j≥k} rowsum(G_j ∘ cos_j)/‖q_j‖²) ∘ Q[:, b_k]

and the same for C: three products of full width in all, where a loss per prefix makes three of each
prefix's width. Queries are taken some rows at a time, against all candidates: rows are short enough
to know their softmax at once, so each exponential is taken once, and the forward pass computes
gradients. Beside the inputs' sizes, memory is (prefixes + 3) × rows × candidates, and no more
than a few times that of the candidates, however many prefixes there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import normalize

from nestvec.losses.nesting_dims import NestingDims
from nestvec.losses.targets import Targets
from nestvec.shapes import Float

_TILE = 1 << 17
"""Scores of one prefix at a time: half a MiB of float32 stays in a core's cache."""
_LARGE_TILE = 1 << 22
"""On a GPU, where starting a kernel costs more than a cache would save."""
_MIN_ROWS = 64
"""With fewer, products of many candidates would wait for memory."""
_SAVED_ENTRIES, _SAVED_PER_ENTRY = 1 << 21, 3
"""Exponentials of all prefixes that a processor saves for the gradients: 8 MiB of float32, or three
times the size of the candidates. Fewer rows at a time cost time: a quarter at 48 prefixes of 1,024
pairs."""
_SAFE_SCALE = 40.0
"""exp(±40) and sums of it lie well within float32, so cosines need no running maximum."""


def softmax_loss(
    queries: Float[Tensor, "q dim"],
    candidates: Float[Tensor, "n dim"],
    scale: Float[Tensor, ""],
    nesting: NestingDims,
    targets: Targets,
    cosine: bool,
) -> Float[Tensor, ""]:
    """Compute `reference.softmax_loss` with its first gradient; there is no second derivative."""
    inputs = (queries, candidates, scale)
    if not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)):
        return _Batch.of(queries, candidates, float(scale), nesting, targets, cosine).loss()
    loss: Tensor = _PrefixBlocks.apply(queries, candidates, scale, nesting, targets, cosine)
    return loss


class _PrefixBlocks(torch.autograd.Function):
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
        batch = _Batch.of(queries, candidates, float(scale), nesting, targets, cosine)
        loss, *gradients = batch.loss_and_gradients()
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (*(gradient * saved for saved in ctx.saved_tensors), None, None, None)


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Queries, or some rows of them, against candidates, with all that precedes the products."""

    queries: Float[Tensor, "q dim"]
    candidates: Float[Tensor, "n dim"]
    scale: float
    nesting: NestingDims
    query_weights: tuple[float, ...]
    """The weight of one query at each prefix."""
    targets: Targets
    query_norms: Float[Tensor, "k q"] | None
    """1/‖q_k‖; None where scores are plain inner products."""
    candidate_norms: Float[Tensor, "k n"] | None
    """1/‖c_k‖, in the same way."""

    @classmethod
    def of(
        cls,
        queries: Float[Tensor, "q dim"],
        candidates: Float[Tensor, "n dim"],
        scale: float,
        nesting: NestingDims,
        targets: Targets,
        cosine: bool,
    ) -> "_Batch":
        weights = tuple(weight / len(queries) for weight in nesting.weights)
        norms = [
            inverse_norms(vectors, nesting) if cosine else None for vectors in (queries, candidates)
        ]
        return cls(queries, candidates, scale, nesting, weights, targets, *norms)

    def rows_per_tile(self, saves: bool) -> int:
        """Choose the number of rows of a tile: few enough that their scores stay in the cache."""
        n, on_cpu = len(self.candidates), self.queries.device.type == "cpu"
        limit = max(_MIN_ROWS, (_TILE if on_cpu else _LARGE_TILE) // n)
        if saves and on_cpu:
            saved = max(_SAVED_ENTRIES, _SAVED_PER_ENTRY * self.candidates.numel())
            limit = min(limit, max(1, saved // (len(self.nesting.dims) * n)))
        n_tiles = -(-len(self.queries) // limit)
        return -(-len(self.queries) // n_tiles)

    def tiles(self, saves: bool) -> Iterator[tuple[slice, "_Tile"]]:
        """Yield tiles of some rows each; all make their exponentials in the same memory."""
        height, k = self.rows_per_tile(saves), len(self.nesting.dims) if saves else 1
        memory = self.queries.new_empty(k, height, len(self.candidates))
        for start in range(0, len(self.queries), height):
            rows = slice(start, min(start + height, len(self.queries)))
            norms = None if self.query_norms is None else self.query_norms[:, rows]
            targets = self.targets.for_query_range(rows.start, rows.stop)
            part = replace(self, queries=self.queries[rows], targets=targets, query_norms=norms)
            yield rows, _Tile(part, memory[:, : len(part.queries)], saves)

    def loss(self) -> Float[Tensor, ""]:
        """Compute the loss alone."""
        return torch.stack([tile.forward() for _, tile in self.tiles(saves=False)]).sum()

    def loss_and_gradients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the loss, and its gradient by queries, candidates and scale."""
        loss, d_scale = (self.queries.new_zeros(()) for _ in range(2))
        d_queries, d_candidates = torch.zeros_like(self.queries), torch.zeros_like(self.candidates)
        logit_grad_sums = self.queries.new_zeros(len(self.nesting.dims), len(self.candidates))
        for rows, tile in self.tiles(saves=True):
            part, sums = tile.part, tile.row_logit_grad_sums
            loss += tile.forward()
            tile.backward(d_queries[rows], d_candidates)
            project_out_norms(d_queries[rows], part.queries, sums, part.query_norms, self.nesting)
            d_scale += sums.sum() / self.scale
            logit_grad_sums += tile.column_logit_grad_sums
        project_out_norms(
            d_candidates, self.candidates, logit_grad_sums, self.candidate_norms, self.nesting
        )
        return loss, d_queries, d_candidates, d_scale


class _Tile:
    """The scores of some queries with all candidates, for the loss and then for its gradients.

    The only mutable thing here: one buffer serves all prefixes.
    """

    def __init__(self, part: _Batch, exponentials: Float[Tensor, "saved q n"], saves: bool) -> None:
        self.part, self.exponentials, self.saves = part, exponentials, saves
        queries, n, k = part.queries, len(part.candidates), len(part.nesting.dims)
        self.inverse = queries.new_empty(k, len(queries))
        """Weight / Σ exp(logits): the factor that turns exponentials into gradients."""
        self.row_logit_grad_sums = queries.new_empty(k, len(queries))
        """Σ over candidates of ∂L/∂logit × logit."""
        self.column_logit_grad_sums = queries.new_zeros(k, n)

    def forward(self) -> Float[Tensor, ""]:
        """Compute the loss, and save what `backward` needs."""
        part = self.part
        sums = torch.zeros_like(self.exponentials[0])
        logits = torch.empty_like(sums)
        excluded = part.targets.excluded_mask(_full_scores(part))
        losses = []
        for k, block in enumerate(part.nesting.blocks):
            sums.addmm_(part.queries[:, block], part.candidates[:, block].T)
            self._scale(k, sums, logits)
            losses.append(self._softmax(k, logits, excluded))
        return torch.stack(losses).sum()

    def _scale(self, k: int, sums: Tensor, logits: Tensor) -> None:
        part = self.part
        if part.query_norms is None or part.candidate_norms is None:
            torch.mul(sums, part.scale, out=logits)
            return
        torch.mul(sums, part.scale * part.query_norms[k, :, None], out=logits)
        logits.mul_(part.candidate_norms[k])

    def _softmax(self, k: int, logits: Tensor, excluded: Tensor | None) -> Tensor:
        part, weight = self.part, self.part.query_weights[k]
        powers = self.exponentials[k if self.saves else 0]
        shift = self._exponentials(logits, excluded, powers)
        total = powers.sum(1)
        positive = part.targets.share * logits[part.targets.rows, part.targets.columns]
        if self.saves:
            torch.div(weight, total, out=self.inverse[k])
            self._sum_logit_grads(k, logits.mul_(powers), weight * positive)
        return weight * ((total.log() + shift).sum() - positive.sum())

    def _exponentials(
        self, logits: Tensor, excluded: Tensor | None, powers: Tensor
    ) -> Tensor | float:
        """Fill `powers` with exp(logits − shift), zero where excluded, and return the shift."""
        if self.part.query_norms is not None and abs(self.part.scale) <= _SAFE_SCALE:
            torch.exp(logits, out=powers)
            shift: Tensor | float = 0.0
        else:
            allowed = logits if excluded is None else logits.masked_fill(excluded, -torch.inf)
            shift = allowed.amax(1)
            torch.sub(logits, shift[:, None], out=powers).exp_()
        if excluded is not None:
            powers.masked_fill_(excluded, 0)
        return shift

    def _sum_logit_grads(self, k: int, products: Tensor, positive: Tensor) -> None:
        """Sum gradient × logit by row and column; `products` are exponential × logit."""
        targets = self.part.targets
        torch.mul(products.sum(1), self.inverse[k], out=self.row_logit_grad_sums[k])
        self.row_logit_grad_sums[k].index_add_(0, targets.rows, positive, alpha=-1)
        if self.part.candidate_norms is not None:
            torch.mv(products.T, self.inverse[k], out=self.column_logit_grad_sums[k])
            self.column_logit_grad_sums[k].index_add_(0, targets.columns, positive, alpha=-1)

    def backward(self, d_queries: Tensor, d_candidates: Tensor) -> None:
        """Add the gradients through the products; `project_out_norms` adds those through norms."""
        part = self.part
        suffix = torch.zeros_like(self.exponentials[0])
        for k, block in reversed([*enumerate(part.nesting.blocks)]):
            self._add_slopes(k, suffix)
            d_queries[:, block].addmm_(suffix, part.candidates[:, block])
            d_candidates[:, block].addmm_(suffix.T, part.queries[:, block])

    def _add_slopes(self, k: int, suffix: Tensor) -> None:
        """Add to `suffix` the gradient by the running sums of prefix k."""
        part, targets = self.part, self.part.targets
        row_factor = torch.full_like(self.inverse[k], part.scale)
        if part.query_norms is not None:
            row_factor *= part.query_norms[k]
        slopes = self.exponentials[k].mul_((self.inverse[k] * row_factor)[:, None])
        positive = part.query_weights[k] * targets.share * row_factor[targets.rows]
        slopes[targets.rows, targets.columns] -= positive
        if part.candidate_norms is None:
            suffix += slopes
        else:
            suffix.addcmul_(slopes, part.candidate_norms[k])


def inverse_norms(vectors: Float[Tensor, "n dim"], nesting: NestingDims) -> Float[Tensor, "k n"]:
    """Compute 1 / length of each prefix; the least length is that of torch's `normalize`, 1e-12."""
    return nesting.prefix_sums(vectors.square()).sqrt().clamp_(min=1e-12).reciprocal_()


def _full_scores(part: _Batch) -> Float[Tensor, "q n"] | None:
    """Compute the scores at full width, where a margin excludes candidates by them."""
    if part.targets.margin is None:
        return None
    if part.query_norms is None:
        return part.queries @ part.candidates.T
    return normalize(part.queries) @ normalize(part.candidates).T


def project_out_norms(
    gradient: Float[Tensor, "n dim"],
    vectors: Float[Tensor, "n dim"],
    logit_grad_sums: Float[Tensor, "k n"],
    inverse_norms: Float[Tensor, "k n"] | None,
    nesting: NestingDims,
) -> None:
    """Subtract the part of a gradient that only changes lengths, which cosines do not see."""
    if inverse_norms is None:
        return
    radial = (logit_grad_sums * inverse_norms.square()).flip(0).cumsum(0).flip(0)
    for block, factor in zip(nesting.blocks, radial, strict=True):
        gradient[:, block].addcmul_(vectors[:, block], factor[:, None], value=-1)
