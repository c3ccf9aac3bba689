"""Losses of nested adaptation: scores in, a scalar out.

`scores` are cosines [q, n] of queries and documents at one of the dims, `full` those at full width,
which training preserves. A masked document (a query's self-match) has no part in a loss.
"""

from collections.abc import Iterator, Sequence

import torch
from torch.nn import functional

from nestvec.shapes import Bool, Float

_NEVER = -1e4
"""A logit whose softmax is 0."""


def nested_scores(
    queries: Float[torch.Tensor, "q width"],
    documents: Float[torch.Tensor, "n width"],
    dims: Sequence[int],
) -> Iterator[Float[torch.Tensor, "q n"]]:
    """Yield the cosines of each prefix in turn."""
    for width in dims:
        # A prefix of a unit vector is not a unit vector.
        yield (
            functional.normalize(queries[:, :width]) @ functional.normalize(documents[:, :width]).T
        )


def ranking_to_keep(
    full: Float[torch.Tensor, "q n"], mask: Bool[torch.Tensor, "q n"], temperature: float
) -> Float[torch.Tensor, "q n"]:
    """Turn scores into a distribution over documents: the softmax of full / temperature."""
    return (full / temperature).masked_fill(mask, _NEVER).softmax(dim=1)


def distillation(
    scores: Float[torch.Tensor, "q n"],
    target: Float[torch.Tensor, "q n"],
    mask: Bool[torch.Tensor, "q n"],
    scale: Float[torch.Tensor, ""],
) -> Float[torch.Tensor, ""]:
    """Average the cross-entropy of softmax(scale · scores) to each query's target distribution."""
    log_share = (scale * scores).masked_fill(mask, _NEVER).log_softmax(dim=1)
    return -(target * log_share).sum(dim=1).mean()


def pairwise(
    scores: Float[torch.Tensor, "q n"],
    full: Float[torch.Tensor, "q n"],
    mask: Bool[torch.Tensor, "q n"],
) -> Float[torch.Tensor, ""]:
    """Average |full − scores| over all pairs: L_pair of 2407.20243."""
    return (full - scores).abs().masked_fill(mask, 0).mean()


def topk(
    scores: Float[torch.Tensor, "q n"],
    full: Float[torch.Tensor, "q n"],
    mask: Bool[torch.Tensor, "q n"],
    k: int,
) -> Float[torch.Tensor, ""]:
    """Average |full − scores| over each query's `k` nearest at full width: L_topk."""
    nearest = full.masked_fill(mask, _NEVER).topk(min(k, full.shape[1] - 1), dim=1).indices
    return (full - scores).gather(1, nearest).abs().mean()


def reconstruction(
    mapped: Float[torch.Tensor, "n width"], initial: Float[torch.Tensor, "n width"]
) -> Float[torch.Tensor, ""]:
    """Average |initial − mapped| over rows: L_rec, the distance from the initialization."""
    return (initial - mapped).abs().sum(dim=1).mean()


def ranking(
    scores: Float[torch.Tensor, "q n"],
    grades: Float[torch.Tensor, "q n"],
    mask: Bool[torch.Tensor, "q n"],
) -> Float[torch.Tensor, ""]:
    """Average (y_j − y_k) · log(1 + exp(s_k − s_j)) over documents with grades y_j > y_k: L_rank.

    The mean is over the pairs of all queries, and 0 without pairs. Documents without a judgment
    have grade 0.
    """
    total, pairs = scores.new_zeros(()), 0
    for query in torch.nonzero((grades > 0).any(dim=1)).flatten().tolist():
        usable = ~mask[query]
        s, y = scores[query][usable], grades[query][usable]
        good = y > 0
        gap = (y[good, None] - y[None, :]).clamp(min=0)
        total = total + (gap * functional.softplus(s[None, :] - s[good, None])).sum()
        pairs += int((gap > 0).sum())
    return total / max(1, pairs)
