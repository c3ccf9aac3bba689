"""How much a ranking agrees with the one by full vectors: one value per query, without labels.

`exact` is the ranking by full vectors, `found` that by a variant; both name every query, best first
and as many answers deep.
"""

import numpy as np

from nestvec.auditing.ranking.full_ranking import scores_of
from nestvec.auditing.types import DEPTH, Encoded, K, Ranking
from nestvec.metrics import overlap, recall_with_ties
from nestvec.shapes import Bool, Float32, Float64, Int64

PERSISTENCE = 0.9
"""Of the reader whom rank-biased overlap imagines: 65 % of the weight is on the first ten."""
TIE_SHARE = 1e-3
"""Full scores within this share of the k-th count as equal to it."""


def agreement(
    full: Encoded, exact: Ranking, found: Ranking, unit: bool
) -> dict[str, Float64[np.ndarray, " q"]]:
    """Every measure of agreement by its name; `unit`: full vectors have length 1.

    `inverse_ratio@10` is of distances, so it is left out for vectors whose lengths differ: there
    the best inner product need not be the nearest.
    """
    found_scores = scores_of(full, found.rows[:, :K])
    kth = exact.scores[:, K - 1]
    tolerance = TIE_SHARE * float(np.median(np.abs(kth)))
    values = {
        f"overlap@{K}": overlap(found.rows, exact.rows, K),
        f"overlap_with_ties@{K}": recall_with_ties(
            found.rows[:, :K], found_scores, kth, K, tolerance
        ),
        "rbo": rank_biased_overlap(exact.rows, found.rows),
        "tau": kendall_tau(exact, found),
    }
    if unit:
        values[f"inverse_ratio@{K}"] = inverse_ratio(exact.scores[:, :K], found_scores)
    return values


def rank_biased_overlap(
    a: Int64[np.ndarray, "q k"], b: Int64[np.ndarray, "q k"], persistence: float = PERSISTENCE
) -> Float64[np.ndarray, " q"]:
    """Rank-biased overlap (Webber, Moffat & Zobel 2010) of two rankings cut at `k`, 1 if equal.

    Σ pᵈ⁻¹ · |first d of a ∩ first d of b| / d over d = 1..k, divided by Σ pᵈ⁻¹: what lies beyond
    the cut is left out, not guessed.
    """
    depths = np.arange(1, a.shape[1] + 1)
    weights = persistence ** (depths - 1.0)
    shared = np.stack([_shared(one, other) for one, other in zip(a, b, strict=True)])
    return np.asarray((shared / depths * weights).sum(axis=1) / weights.sum())


def kendall_tau(exact: Ranking, found: Ranking, k: int = K) -> Float64[np.ndarray, " q"]:
    """Kendall's τ-b of the two scores over the union of both first `k`.

    A document that one of the rankings does not hold at all is tied with others like it behind all
    that it holds. 0 where all of the union is tied in one of them.
    """
    new = ~_members(found.rows[:, :k], exact.rows[:, :k])
    union = np.concatenate([exact.rows[:, :k], found.rows[:, :k]], axis=1)
    valid = np.concatenate([np.ones_like(new), new], axis=1)
    pairs = valid[:, :, None] & valid[:, None, :]
    one = _signs(_looked_up(exact, union)) * pairs
    other = _signs(_looked_up(found, union)) * pairs
    agreeing = (one * other).sum(axis=(1, 2))
    untied = np.abs(one).sum(axis=(1, 2)) * np.abs(other).sum(axis=(1, 2))
    return np.asarray(agreeing / np.sqrt(np.where(untied > 0, untied, 1)))


def inverse_ratio(
    exact_scores: Float32[np.ndarray, "q k"], found_scores: Float32[np.ndarray, "q k"]
) -> Float64[np.ndarray, " q"]:
    """The mean over places of true distance / found distance: 1 if what was found is as near.

    Scores are inner products of unit vectors by full precision, in any order.
    """
    exact, found = (_distances(scores) for scores in (exact_scores, found_scores))
    return np.asarray((exact / np.where(found > 0, found, 1)).clip(max=1).mean(axis=1))


def _distances(scores: Float32[np.ndarray, "q k"]) -> Float64[np.ndarray, "q k"]:
    """Distances of unit vectors, least first; below what float32 tells from 0 they are one."""
    squares = 2 - 2 * np.sort(scores.astype(np.float64), axis=1)[:, ::-1]
    return np.asarray(np.sqrt(squares.clip(min=1e-6)))


def _shared(a: Int64[np.ndarray, " k"], b: Int64[np.ndarray, " k"]) -> Int64[np.ndarray, " k"]:
    """|first d of a ∩ first d of b| for d = 1..k."""
    _, in_a, in_b = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    joined = np.bincount(np.maximum(in_a, in_b), minlength=len(a))
    return np.asarray(joined.cumsum(), np.int64)


def _members(
    rows: Int64[np.ndarray, "q m"], of: Int64[np.ndarray, "q k"]
) -> Bool[np.ndarray, "q m"]:
    return np.asarray((rows[:, :, None] == of[:, None, :]).any(axis=2))


def _looked_up(ranking: Ranking, rows: Int64[np.ndarray, "q m"]) -> Float32[np.ndarray, "q m"]:
    """The score that a ranking gives each row, −∞ where it does not hold it."""
    depth = min(DEPTH, ranking.rows.shape[1])
    match = rows[:, :, None] == ranking.rows[:, None, :depth]
    scores = np.take_along_axis(ranking.scores, match.argmax(axis=2), axis=1)
    return np.where(match.any(axis=2), scores, np.float32(-np.inf))


def _signs(scores: Float32[np.ndarray, "q m"]) -> Float64[np.ndarray, "q m m"]:
    """The order of every pair: 1, 0 or −1; comparisons, as −∞ has no difference with itself."""
    above = scores[:, :, None] > scores[:, None, :]
    return above.astype(np.float64) - above.transpose(0, 2, 1)
