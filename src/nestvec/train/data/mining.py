"""Hard negatives, mined at a prefix, where they are hard."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nestvec.shapes import Float, Int64
from nestvec.vectors import check_dims

_BLOCK = 256
"""Queries whose scores with all documents are in memory at a time."""


def mine_hard_negatives(
    queries: Float[Tensor, "q dim"],
    documents: Float[Tensor, "n dim"],
    positives: Int64[Tensor, " q"],
    dims: int,
    count: int,
    margin: float = 0.0,
) -> Int64[Tensor, "q count"]:
    """Find the `count` documents nearest to each query by its first `dims`, nearest first.

    The query's positive is left out, and so are documents whose cosine at full width exceeds that
    of the positive by more than `margin`. A document that full width prefers too is likely to be
    relevant and unlabelled; one that only the prefix prefers is what the prefix has to learn.
    −1 stands where fewer remain.
    """
    check_dims(dims, documents.shape[1])
    full, prefixes = normalize(documents), normalize(documents[:, :dims])
    negatives = torch.full((len(queries), count), -1, dtype=torch.int64)
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        positive = positives[start : start + _BLOCK, None]
        full_scores = normalize(block) @ full.T
        scores = normalize(block[:, :dims]) @ prefixes.T
        scores[full_scores > full_scores.gather(1, positive) + margin] = -torch.inf
        scores.scatter_(1, positive, -torch.inf)
        best = scores.topk(min(count, len(documents)), dim=1)
        rows = torch.where(best.values.isfinite(), best.indices, -1)
        negatives[start : start + _BLOCK, : rows.shape[1]] = rows.cpu()
    return negatives
