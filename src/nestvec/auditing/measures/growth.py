"""Corpus growth: recall with fewer documents, exactly, and with more, by a model of the tail.

A verdict at one corpus size may not hold at another. For smaller corpora the expectation over all
of them is a formula. For larger ones, a model of how distractors score is trusted to ten times the
corpus and no further (the limit of Zheng, Achanta & Benjamini, JMLR 2018). Both assume that new
documents are like those so far; they leave out near-duplicates that gather as a topic fills up.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from nestvec.auditing.measures.distractors import Distractors, tail_shape
from nestvec.auditing.measures.margins import per_query
from nestvec.auditing.measures.paired import interval, resampled_means
from nestvec.auditing.types import CheckResult
from nestvec.errors import InputError
from nestvec.parallel import map_all
from nestvec.shapes import Float64, Int64
from nestvec.statistics import Estimate, bootstrap_ratio, smallest_true

GROWTH_FACTORS = (2, 5, 10)
"""Corpus sizes for which the model is evaluated, in multiples of the present distractors."""
MIN_RECALL_SHARE = 0.95
"""Share of the present recall that must remain, with confidence, at a size that is `shown_to`."""
MODEL_RESAMPLES = 200
"""Resamples for the band of the model, whose tail is fitted anew in each."""


class GrowthPoint(NamedTuple):
    """Recall of the variant among a number of distractors, with the full vectors' mean."""

    distractors: int
    basis: Literal["exact", "modelled"]
    recall: Estimate
    full: float


def corpus_growth(
    full: Distractors, variant: Distractors, k: int, rng: np.random.Generator
) -> CheckResult:
    """Measure recall@k of the same relevant documents among fewer and more distractors.

    n is the number of distractors that every query has. Metrics are means over queries, their
    intervals from resampling queries: `recall@k_at_tenth` of n and `recall@k_at_n`, both exact;
    `retention_at_tenth` and `retention_at_n` (variant / full, paired); `recall@k_at_tenfold`,
    modelled, where n is large enough for a tail; `half_size`, the number of distractors among which
    half of the relevant documents are lost, where it and its interval lie on the curve.

    Details, as "corpus_growth": the `curve`, with the full vectors' value; `model_at_n`, to be
    compared with recall@k_at_n before the model is believed; the `shape` of the tail (below 0 it
    has an end); and how far to trust each: `shown_to` (fresh distractors that leave 95 % of
    recall@k_at_n, every query taken at its own 95 % bound, without a model: n / 58 if k = 1 and
    nothing beats any relevant document), `modelled_to` (10 n, or None), speculative beyond.
    """
    n = variant.min_count
    if full.min_count != n or not 1 <= k <= n:
        raise InputError(
            f"k={k} among {full.min_count} (full) and {n} (variant) distractors; "
            "use 1 <= k <= their number, and the same judgments for both"
        )
    points = _counted(full, variant, _sizes(n, k), k, rng)
    counted = {point.distractors: point for point in points}
    extrapolated = (
        _extrapolated(full, variant, [f * n for f in GROWTH_FACTORS], k, rng)
        if variant.tail
        else []
    )
    curve = points + extrapolated
    metrics: dict[str, Estimate] = {}
    for name, size in (("tenth", _tenth(n, k)), ("n", n)):
        metrics[f"recall@{k}_at_{name}"] = counted[size].recall
        if counted[size].full > 0:
            recalls = variant.recall_among(size, k), full.recall_among(size, k)
            metrics[f"retention_at_{name}"] = bootstrap_ratio(*recalls, rng)
    if extrapolated:
        metrics[f"recall@{k}_at_tenfold"] = extrapolated[-1].recall
    half = _half_size(curve)
    if half is not None:
        metrics["half_size"] = half
    details = {"k": k, "distractors": n} | _trusted_sizes(variant, k) | _as_json(curve)
    return CheckResult(metrics, {"corpus_growth": details})


def _sizes(n: int, k: int) -> list[int]:
    """k, n, a tenth of n, and 1, 2 and 5 times the powers of ten between."""
    steps = (step * 10**power for power in range(len(str(n))) for step in (1, 2, 5))
    return sorted({k, _tenth(n, k), n, *(size for size in steps if k < size < n)})


def _tenth(n: int, k: int) -> int:
    return max(k, n // 10)


def _counted(
    full: Distractors, variant: Distractors, sizes: Sequence[int], k: int, rng: np.random.Generator
) -> list[GrowthPoint]:
    recall = np.stack([variant.recall_among(size, k) for size in sizes], axis=1)
    band = np.stack(interval(resampled_means(recall, rng)), axis=1)
    n = len(recall)
    return [
        GrowthPoint(
            size, "exact", Estimate(float(mean), low, high, n), _mean(full.recall_among(size, k))
        )
        for size, mean, (low, high) in zip(sizes, recall.mean(axis=0), band.tolist(), strict=True)
    ]


def _extrapolated(
    full: Distractors, variant: Distractors, sizes: Sequence[int], k: int, rng: np.random.Generator
) -> list[GrowthPoint]:
    """Each resample of the queries fits the tail anew: the band holds its uncertainty too."""
    spreads = per_query(variant.spreads, variant.queries)
    n = len(spreads)

    def means(rows: Int64[np.ndarray, " q"]) -> list[float]:
        shape = tail_shape(spreads[rows])
        return [_mean(variant.recall_beyond(size, k, shape)[rows]) for size in sizes]

    resampled = np.array(map_all(means, [rng.integers(n, size=n) for _ in range(MODEL_RESAMPLES)]))
    points = []
    for size, (low, high) in zip(
        sizes, np.stack(interval(resampled), axis=1).tolist(), strict=True
    ):
        value = _mean(variant.recall_beyond(size, k, variant.shape))
        full_mean = _mean(full.recall_beyond(size, k, full.shape))
        points.append(GrowthPoint(size, "modelled", Estimate(value, low, high, n), full_mean))
    return points


def _mean(values: Float64[np.ndarray, " q"]) -> float:
    return float(values.mean())


def _half_size(curve: Sequence[GrowthPoint]) -> Estimate | None:
    """Size at which the curve and both edges of its band fall to ½; None if one does not."""
    value, low, high = (_falls_to_half(curve, edge) for edge in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return None
    return Estimate(value, low, high, curve[0].recall.n)


def _falls_to_half(curve: Sequence[GrowthPoint], edge: str) -> float | None:
    """First size at which an edge is at most ½, by straight lines over the logarithm of size."""
    previous_size, previous = 1.0, 1.0
    for point in curve:
        recall = getattr(point.recall, edge)
        if recall <= 0.5:
            share = (previous - 0.5) / (previous - recall)
            step = math.log(point.distractors / previous_size)
            return math.exp(math.log(previous_size) + share * step)
        previous_size, previous = point.distractors, recall
    return None


def _trusted_sizes(variant: Distractors, k: int) -> dict[str, Any]:
    """Corpus sizes up to which recall is shown, and modelled."""
    n = variant.min_count
    threshold = MIN_RECALL_SHARE * _mean(variant.recall_among(n, k))
    # A recall of 0 has nothing to lose, and sizes beyond tenfold are of no interest.
    first_short = smallest_true(
        lambda m: m > 10 * n or _mean(variant.recall_bound(m, k)) < threshold
    )
    shown_to = first_short - 1 if threshold else 0
    if not variant.tail:
        return {"shown_to": shown_to, "modelled_to": None}
    at_n = _mean(variant.recall_beyond(n, k, variant.shape))
    model = {"modelled_to": GROWTH_FACTORS[-1] * n, "model_at_n": at_n, "shape": variant.shape}
    return {"shown_to": shown_to} | model


def _as_json(curve: Sequence[GrowthPoint]) -> dict[str, Any]:
    return {"curve": [point._asdict() | {"recall": point.recall._asdict()} for point in curve]}
