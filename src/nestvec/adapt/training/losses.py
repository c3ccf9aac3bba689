"""Losses of nested adaptation: scores in, a scalar out.

`scores` are cosines [q, n] of queries and documents at one size, `full` those at full width, which
are to be kept. A masked document (a query's own) counts for nothing.
"""

from collections.abc import Iterator, Sequence

import torch
from torch.nn import functional

from nestvec.shapes import Bool, Float

_NEVER = -1e4
"""A logit that no softmax sees."""


def nested_scores(
    queries: Float[torch.Tensor, "q width"],
    documents: Float[torch.Tensor, "n width"],
    dims: Sequence[int],
) -> Iterator[Float[torch.Tensor, "q n"]]:
    """The cosines of all prefixes, one size after the other."""
    for size in dims:
        # A prefix of a unit vector is not a unit vector.
        yield functional.normalize(queries[:, :size]) @ functional.normalize(documents[:, :size]).T


def ranking_to_keep(
    full: Float[torch.Tensor, "q n"], mask: Bool[torch.Tensor, "q n"], temperature: float
) -> Float[torch.Tensor, "q n"]:
    """The full-width ranking as a distribution over documents: softmax of scores / temperature."""
    return (full / temperature).masked_fill(mask, _NEVER).softmax(dim=1)


def distillation(
    scores: Float[torch.Tensor, "q n"],
    target: Float[torch.Tensor, "q n"],
    mask: Bool[torch.Tensor, "q n"],
    scale: Float[torch.Tensor, ""],
) -> Float[torch.Tensor, ""]:
    """Cross-entropy of softmax(scale · scores) to a distribution over documents, per query."""
    log_share = (scale * scores).masked_fill(mask, _NEVER).log_softmax(dim=1)
    return -(target * log_share).sum(dim=1).mean()


def pairwise(
    scores: Float[torch.Tensor, "q n"],
    full: Float[torch.Tensor, "q n"],
    mask: Bool[torch.Tensor, "q n"],
) -> Float[torch.Tensor, ""]:
    """|full − scores|, mean over all pairs: L_pair of 2407.20243."""
    return (full - scores).abs().masked_fill(mask, 0).mean()


def topk(
    scores: Float[torch.Tensor, "q n"],
    full: Float[torch.Tensor, "q n"],
    mask: Bool[torch.Tensor, "q n"],
    k: int,
) -> Float[torch.Tensor, ""]:
    """As `pairwise`, over the `k` nearest at full width of each query: L_topk."""
    nearest = full.masked_fill(mask, _NEVER).topk(min(k, full.shape[1] - 1), dim=1).indices
    return (full - scores).gather(1, nearest).abs().mean()


def reconstruction(
    mapped: Float[torch.Tensor, "n width"], start: Float[torch.Tensor, "n width"]
) -> Float[torch.Tensor, ""]:
    """|start − mapped|, mean over rows: L_rec, from where the map started."""
    return (start - mapped).abs().sum(dim=1).mean()


def ranking(
    scores: Float[torch.Tensor, "q n"],
    grades: Float[torch.Tensor, "q n"],
    mask: Bool[torch.Tensor, "q n"],
) -> Float[torch.Tensor, ""]:
    """(y_j − y_k) · log(1 + exp(s_k − s_j)) over documents with grades y_j > y_k: L_rank.

    Mean over the pairs of all queries; documents without judgement have grade 0. 0 without pairs.
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
