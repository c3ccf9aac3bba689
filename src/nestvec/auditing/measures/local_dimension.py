"""Local intrinsic dimension: the number of directions around a query, whatever the width."""

import numpy as np

from nestvec.auditing.ranking.full_ranking import scores_of
from nestvec.auditing.types import CheckResult, EmbeddingPair, Ranking
from nestvec.shapes import Float64
from nestvec.statistics import bootstrap_ratio

_NEAREST = 20
"""Neighbours per query; more reach beyond what is local."""
_MIN_SQUARE = 1e-6
"""Smallest squared distance of unit vectors that float32 tells from 0."""


def local_dimension(
    embeddings: EmbeddingPair, ranking: Ranking, rng: np.random.Generator
) -> CheckResult:
    """Intrinsic dimension by the distances from queries to their nearest documents.

    Levina & Bickel (2004): for each query the mean of log(d_k / d_j) over its k − 1 nearest is an
    inverse dimension; these are averaged over queries (MacKay & Ghahramani) and inverted.
    `ranking` is that by `embeddings`; where lengths differ, as those of codes do, distances are
    those of vectors scaled to one length. No metric where all neighbours are equally far.
    """
    inverse = _inverse_dimensions(_distances(embeddings, ranking))
    if not inverse.any():
        return CheckResult({})
    estimate = bootstrap_ratio(np.ones_like(inverse), inverse, rng)
    return CheckResult({"local_dimension": estimate})


def _inverse_dimensions(distances: Float64[np.ndarray, "q k"]) -> Float64[np.ndarray, " q"]:
    ordered = np.log(np.sort(distances, axis=1))
    return np.asarray((ordered[:, -1:] - ordered[:, :-1]).mean(axis=1))


def _distances(embeddings: EmbeddingPair, ranking: Ranking) -> Float64[np.ndarray, "q k"]:
    rows = ranking.rows[:, :_NEAREST]
    scores = scores_of(embeddings, rows).astype(np.float64)
    lengths = np.linalg.norm(embeddings.documents[np.unique(rows)], axis=1)
    lengths = lengths[np.searchsorted(np.unique(rows), rows)]
    query_lengths = np.linalg.norm(embeddings.queries, axis=1)[:, None]
    products = lengths * query_lengths
    cosines = scores / np.where(products > 0, products, 1)
    return np.asarray(np.sqrt((2 - 2 * cosines).clip(min=_MIN_SQUARE)))
