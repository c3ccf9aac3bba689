"""Nested softmax losses said plainly: the definition that `blocks` is held to."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nestvec.losses.cuts import Cuts
from nestvec.losses.targets import Targets
from nestvec.shapes import Float


def softmax_loss(
    queries: Float[Tensor, "q dim"],
    candidates: Float[Tensor, "n dim"],
    scale: Float[Tensor, ""],
    cuts: Cuts,
    targets: Targets,
    cosine: bool,
) -> Float[Tensor, ""]:
    """Σ over cuts of weight × mean over queries of −log softmax(scale × score) at the targets.

    Scores are inner products of prefixes, each scaled to unit length if `cosine`.
    """
    full = _scores(queries, candidates, queries.shape[1], cosine).detach()
    out = targets.left_out(full)
    total = queries.new_zeros(())
    for dim, weight in zip(cuts.dims, cuts.weights, strict=True):
        logits = scale * _scores(queries, candidates, dim, cosine)
        if out is not None:
            logits = logits.masked_fill(out, -torch.inf)
        right = targets.share * logits[targets.rows, targets.columns]
        total = total + weight * (logits.logsumexp(1).sum() - right.sum()) / len(queries)
    return total


def _scores(
    queries: Float[Tensor, "q dim"], candidates: Float[Tensor, "n dim"], dim: int, cosine: bool
) -> Float[Tensor, "q n"]:
    # Renormalise per prefix: a prefix of a unit vector is not a unit vector.
    a, b = queries[:, :dim], candidates[:, :dim]
    return normalize(a) @ normalize(b).T if cosine else a @ b.T
