"""Nested softmax losses in the plainest form: the definition that `blocks` is tested against."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nestvec.losses.nesting_dims import NestingDims
from nestvec.losses.targets import Targets
from nestvec.shapes import Float


def softmax_loss(
    queries: Float[Tensor, "q dim"],
    candidates: Float[Tensor, "n dim"],
    scale: Float[Tensor, ""],
    nesting: NestingDims,
    targets: Targets,
    cosine: bool,
) -> Float[Tensor, ""]:
    """Σ over prefixes of weight × mean over queries of −log softmax(scale × score) at the targets.

    Scores are inner products of prefixes, each scaled to unit length if `cosine`.
    """
    full_scores = _scores(queries, candidates, queries.shape[1], cosine).detach()
    excluded = targets.excluded_mask(full_scores)
    total = queries.new_zeros(())
    for dim, weight in zip(nesting.dims, nesting.weights, strict=True):
        logits = scale * _scores(queries, candidates, dim, cosine)
        if excluded is not None:
            logits = logits.masked_fill(excluded, -torch.inf)
        positive = targets.share * logits[targets.rows, targets.columns]
        total = total + weight * (logits.logsumexp(1).sum() - positive.sum()) / len(queries)
    return total


def _scores(
    queries: Float[Tensor, "q dim"], candidates: Float[Tensor, "n dim"], dim: int, cosine: bool
) -> Float[Tensor, "q n"]:
    # Renormalise per prefix: a prefix of a unit vector is not a unit vector.
    a, b = queries[:, :dim], candidates[:, :dim]
    return normalize(a) @ normalize(b).T if cosine else a @ b.T
