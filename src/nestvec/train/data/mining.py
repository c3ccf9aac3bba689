"""Hard negatives, mined where they are hard: at a prefix."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nestvec.shapes import Float, Int64
from nestvec.vectors import check_dims

_BLOCK = 256


def mine_hard_negatives(
    queries: Float[Tensor, "q dim"],
    documents: Float[Tensor, "n dim"],
    own: Int64[Tensor, " q"],
    dims: int,
    count: int,
    margin: float = 0.0,
) -> Int64[Tensor, "q count"]:
    """The `count` documents nearest to each query by its first `dims` dimensions, nearest first.

    Without the query's own document, and without those whose cosine at full width exceeds its
    own document's by more than `margin`: what full width prefers too is likely a right answer that
    nobody labelled; what only the prefix takes for one is what the prefix has to learn. −1 stands
    where fewer are left.
    """
    check_dims(dims, documents.shape[1])
    full, short = normalize(documents), normalize(documents[:, :dims])
    found = torch.full((len(queries), count), -1, dtype=torch.int64)
    for first in range(0, len(queries), _BLOCK):
        part = queries[first : first + _BLOCK]
        mine_hard_negatives = own[first : first + _BLOCK, None]
        at_full = normalize(part) @ full.T
        scores = normalize(part[:, :dims]) @ short.T
        scores[at_full > at_full.gather(1, mine_hard_negatives) + margin] = -torch.inf
        scores.scatter_(1, mine_hard_negatives, -torch.inf)
        best = scores.topk(min(count, len(documents)), dim=1)
        rows = torch.where(best.values.isfinite(), best.indices, -1)
        found[first : first + _BLOCK, : rows.shape[1]] = rows.cpu()
    return found
