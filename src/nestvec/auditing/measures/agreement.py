"""Agreement of a ranking with the baseline's: one value per query, without judgments.

Both rankings have every query, are equally deep, and hold the best document first.
"""

import numpy as np

from nestvec.auditing.ranking.full_ranking import scores_of
from nestvec.auditing.types import DEPTH, EmbeddingPair, K, Ranking
from nestvec.metrics import overlap, recall_with_ties
from nestvec.shapes import Bool, Float32, Float64, Int64

PERSISTENCE = 0.9
"""Persistence of the reader in rank-biased overlap: 65 % of the weight is on the first 10."""
TIE_SHARE = 1e-3
"""Full scores within this share of the k-th count as equal to it."""


def agreement(
    full: EmbeddingPair, baseline: Ranking, variant: Ranking, unit: bool
) -> dict[str, Float64[np.ndarray, " q"]]:
    """Every measure of agreement by its name; `unit`: full vectors have length 1.

    `inverse_ratio@10` is a ratio of distances, so it is left out for vectors whose lengths differ:
    there the best inner product need not be the nearest.
    """
    full_scores = scores_of(full, variant.rows[:, :K])
    kth = baseline.scores[:, K - 1]
    tolerance = TIE_SHARE * float(np.median(np.abs(kth)))
    values = {
        f"overlap@{K}": overlap(variant.rows, baseline.rows, K),
        f"overlap_with_ties@{K}": recall_with_ties(
            variant.rows[:, :K], full_scores, kth, K, tolerance
        ),
        "rbo": rank_biased_overlap(baseline.rows, variant.rows),
        "tau": kendall_tau(baseline, variant),
    }
    if unit:
        values[f"inverse_ratio@{K}"] = inverse_ratio(baseline.scores[:, :K], full_scores)
    return values


def rank_biased_overlap(
    a: Int64[np.ndarray, "q k"], b: Int64[np.ndarray, "q k"], persistence: float = PERSISTENCE
) -> Float64[np.ndarray, " q"]:
    """Rank-biased overlap (Webber, Moffat & Zobel 2010) of two rankings of depth `k`, 1 if equal.

    Σ pᵈ⁻¹ · |first d of a ∩ first d of b| / d over d = 1..k, divided by Σ pᵈ⁻¹: documents beyond
    depth `k` are left out, not extrapolated.
    """
    depths = np.arange(1, a.shape[1] + 1)
    weights = persistence ** (depths - 1.0)
    common = np.stack([_common(row_a, row_b) for row_a, row_b in zip(a, b, strict=True)])
    return np.asarray((common / depths * weights).sum(axis=1) / weights.sum())


def kendall_tau(a: Ranking, b: Ranking, k: int = K) -> Float64[np.ndarray, " q"]:
    """Kendall's τ-b of the scores of two rankings over the union of both first `k`.

    Documents that a ranking lacks are tied with each other, behind all that it has. 0 where the
    whole union is tied in one of the rankings.
    """
    is_new = ~_members(b.rows[:, :k], a.rows[:, :k])
    union = np.concatenate([a.rows[:, :k], b.rows[:, :k]], axis=1)
    valid = np.concatenate([np.ones_like(is_new), is_new], axis=1)
    pairs = valid[:, :, None] & valid[:, None, :]
    signs_a = _signs(_scores_of_rows(a, union)) * pairs
    signs_b = _signs(_scores_of_rows(b, union)) * pairs
    agreeing = (signs_a * signs_b).sum(axis=(1, 2))
    untied = np.abs(signs_a).sum(axis=(1, 2)) * np.abs(signs_b).sum(axis=(1, 2))
    return np.asarray(agreeing / np.sqrt(np.where(untied > 0, untied, 1)))


def inverse_ratio(
    baseline_scores: Float32[np.ndarray, "q k"], variant_scores: Float32[np.ndarray, "q k"]
) -> Float64[np.ndarray, " q"]:
    """Mean over ranks of baseline distance / variant distance: 1 if the hits are as near.

    Scores are inner products of unit vectors at full precision, in any order.
    """
    baseline, variant = (_distances(scores) for scores in (baseline_scores, variant_scores))
    return np.asarray((baseline / np.where(variant > 0, variant, 1)).clip(max=1).mean(axis=1))


def _distances(scores: Float32[np.ndarray, "q k"]) -> Float64[np.ndarray, "q k"]:
    """Distances of unit vectors, least first; those that float32 cannot tell from 0 are equal."""
    squares = 2 - 2 * np.sort(scores.astype(np.float64), axis=1)[:, ::-1]
    return np.asarray(np.sqrt(squares.clip(min=1e-6)))


def _common(a: Int64[np.ndarray, " k"], b: Int64[np.ndarray, " k"]) -> Int64[np.ndarray, " k"]:
    """|first d of a ∩ first d of b| for d = 1..k."""
    _, in_a, in_b = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    joined = np.bincount(np.maximum(in_a, in_b), minlength=len(a))
    return np.asarray(joined.cumsum(), np.int64)


def _members(
    rows: Int64[np.ndarray, "q m"], ranked: Int64[np.ndarray, "q k"]
) -> Bool[np.ndarray, "q m"]:
    return np.asarray((rows[:, :, None] == ranked[:, None, :]).any(axis=2))


def _scores_of_rows(ranking: Ranking, rows: Int64[np.ndarray, "q m"]) -> Float32[np.ndarray, "q m"]:
    """The score of each row in a ranking, −∞ where it is not in it."""
    depth = min(DEPTH, ranking.rows.shape[1])
    match = rows[:, :, None] == ranking.rows[:, None, :depth]
    scores = np.take_along_axis(ranking.scores, match.argmax(axis=2), axis=1)
    return np.where(match.any(axis=2), scores, np.float32(-np.inf))


def _signs(scores: Float32[np.ndarray, "q m"]) -> Float64[np.ndarray, "q m m"]:
    """The order of every pair: 1, 0 or −1; comparisons, as −∞ has no difference with itself."""
    is_above = scores[:, :, None] > scores[:, None, :]
    return is_above.astype(np.float64) - is_above.transpose(0, 2, 1)
