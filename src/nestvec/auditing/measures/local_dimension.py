"""Local intrinsic dimension: how many directions there are around a query, whatever the width."""

import numpy as np

from nestvec.auditing.ranking.full_ranking import scores_of
from nestvec.auditing.types import Encoded, Findings, Ranking
from nestvec.shapes import Float64
from nestvec.statistics import bootstrap_ratio

_NEAREST = 20
"""Neighbours that are asked; more reach beyond what is local."""
_LEAST_SQUARE = 1e-6
"""Of distances of unit vectors: below it float32 rows are one."""


def local_dimension(encoded: Encoded, found: Ranking, rng: np.random.Generator) -> Findings:
    """The dimension that distances from queries to their nearest documents have.

    Levina & Bickel (2004): for each query the mean of log(d_k / d_j) over its k − 1 nearest is an
    inverse dimension; these are averaged over queries (MacKay & Ghahramani) and inverted.
    `found` is the ranking by `encoded`; where lengths differ, as those of codes do, distances are
    taken of vectors scaled to one length. Nothing where all neighbours are equally far.
    """
    inverse = _inverse_dimensions(_distances(encoded, found))
    if not inverse.any():
        return Findings({})
    estimate = bootstrap_ratio(np.ones_like(inverse), inverse, rng)
    return Findings({"local_dimension": estimate})


def _inverse_dimensions(distances: Float64[np.ndarray, "q k"]) -> Float64[np.ndarray, " q"]:
    ordered = np.log(np.sort(distances, axis=1))
    return np.asarray((ordered[:, -1:] - ordered[:, :-1]).mean(axis=1))


def _distances(encoded: Encoded, found: Ranking) -> Float64[np.ndarray, "q k"]:
    rows = found.rows[:, :_NEAREST]
    scores = scores_of(encoded, rows).astype(np.float64)
    lengths = np.linalg.norm(encoded.documents[np.unique(rows)], axis=1)
    lengths = lengths[np.searchsorted(np.unique(rows), rows)]
    asked = np.linalg.norm(encoded.queries, axis=1)[:, None]
    cosines = scores / np.where(lengths * asked > 0, lengths * asked, 1)
    return np.asarray(np.sqrt((2 - 2 * cosines).clip(min=_LEAST_SQUARE)))
