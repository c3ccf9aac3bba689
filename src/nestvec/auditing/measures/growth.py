"""Corpus growth: recall with fewer documents, exactly, and with more, by a model of the tail.

A verdict at one corpus size may not hold at another. Downwards nothing is guessed: the expectation
over all smaller corpora is a formula. Upwards, a model of how distractors score is trusted to ten
times the corpus and no further (the limit of Zheng, Achanta & Benjamini, JMLR 2018). Both take
documents to come as they came so far: near-duplicates that gather as a topic fills up are left out.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from nestvec.auditing.measures.distractors import Distractors, tail_shape
from nestvec.auditing.measures.margins import per_query
from nestvec.auditing.measures.paired import interval, resampled_means
from nestvec.auditing.types import Findings
from nestvec.errors import InputError
from nestvec.parallel import on_all_cores
from nestvec.shapes import Float64, Int64
from nestvec.statistics import Estimate, bootstrap_ratio, fewest

FACTORS = (2, 5, 10)
"""The model is asked for so many times the distractors at hand."""
HELD = 0.95
"""The share of today's recall that must be certain to remain."""
MODEL_RESAMPLES = 200
"""For the band of the model, whose tail is fitted anew each time."""


class Point(NamedTuple):
    """Recall of the variant among so many distractors, and the mean of the full vectors there."""

    distractors: int
    basis: Literal["exact", "modelled"]
    recall: Estimate
    full: float


def corpus_growth(
    full: Distractors, variant: Distractors, k: int, rng: np.random.Generator
) -> Findings:
    """Recall@k of the same judged documents among fewer and more distractors.

    n is the number of distractors that every query has. Metrics are means over queries, their
    intervals from resampling queries: `recall@k_at_tenth` of n and `recall@k_at_n`, both exact;
    `retention_at_tenth` and `retention_at_n` (variant / full, paired); `recall@k_at_tenfold`,
    modelled, where n is large enough for a tail; `half_size`, the number of distractors among which
    half of the answers are lost, where it and its interval lie within what is known.

    Details, as "corpus_growth": the `curve`, with the full vectors' value beside; `model_at_n`, to
    be compared with recall@k_at_n before the model is believed; the `shape` of the tail (below 0 it
    has an end); and how far to trust what: `certified_to` (fresh distractors that leave 95 % of
    recall@k_at_n, every query taken at its own 95 % bound, without a model: n / 58 if k = 1 and
    nothing beats any answer), `modelled_to` (10 n, or None), speculative beyond.
    """
    n = variant.least
    if full.least != n or not 1 <= k <= n:
        raise InputError(
            f"k={k} among {full.least} (full) and {n} (variant) distractors; "
            "use 1 <= k <= their number, and the same judgements for both"
        )
    points = _exact(full, variant, _sizes(n, k), k, rng)
    exact = {point.distractors: point for point in points}
    modelled = _modelled(full, variant, [f * n for f in FACTORS], k, rng) if variant.tail else []
    curve = points + modelled
    metrics: dict[str, Estimate] = {}
    for name, size in (("tenth", _tenth(n, k)), ("n", n)):
        metrics[f"recall@{k}_at_{name}"] = exact[size].recall
        if exact[size].full > 0:
            both = variant.recall_among(size, k), full.recall_among(size, k)
            metrics[f"retention_at_{name}"] = bootstrap_ratio(*both, rng)
    if modelled:
        metrics[f"recall@{k}_at_tenfold"] = modelled[-1].recall
    half = _half_size(curve)
    if half is not None:
        metrics["half_size"] = half
    details = {"k": k, "distractors": n} | _trust(variant, k) | _as_json(curve)
    return Findings(metrics, {"corpus_growth": details})


def _sizes(n: int, k: int) -> list[int]:
    """k, n, a tenth of n, and 1, 2 and 5 times the powers of ten between."""
    steps = (step * 10**power for power in range(len(str(n))) for step in (1, 2, 5))
    return sorted({k, _tenth(n, k), n, *(size for size in steps if k < size < n)})


def _tenth(n: int, k: int) -> int:
    return max(k, n // 10)


def _exact(
    full: Distractors, variant: Distractors, sizes: Sequence[int], k: int, rng: np.random.Generator
) -> list[Point]:
    recall = np.stack([variant.recall_among(size, k) for size in sizes], axis=1)
    band = np.stack(interval(resampled_means(recall, rng)), axis=1)
    n = len(recall)
    return [
        Point(size, "exact", Estimate(float(mean), low, high, n), _mean(full.recall_among(size, k)))
        for size, mean, (low, high) in zip(sizes, recall.mean(axis=0), band.tolist(), strict=True)
    ]


def _modelled(
    full: Distractors, variant: Distractors, sizes: Sequence[int], k: int, rng: np.random.Generator
) -> list[Point]:
    """Each resample of the queries fits the tail anew: the band holds its uncertainty too."""
    spreads = per_query(variant.spreads, variant.queries)
    n = len(spreads)

    def means(rows: Int64[np.ndarray, " q"]) -> list[float]:
        shape = tail_shape(spreads[rows])
        return [_mean(variant.recall_beyond(size, k, shape)[rows]) for size in sizes]

    drawn = np.array(on_all_cores(means, [rng.integers(n, size=n) for _ in range(MODEL_RESAMPLES)]))
    points = []
    for size, (low, high) in zip(sizes, np.stack(interval(drawn), axis=1).tolist(), strict=True):
        value = _mean(variant.recall_beyond(size, k, variant.shape))
        of_full = _mean(full.recall_beyond(size, k, full.shape))
        points.append(Point(size, "modelled", Estimate(value, low, high, n), of_full))
    return points


def _mean(values: Float64[np.ndarray, " q"]) -> float:
    return float(values.mean())


def _half_size(curve: Sequence[Point]) -> Estimate | None:
    """Where the curve and both edges of its band fall to a half; None if one of them does not."""
    value, low, high = (_falls_to_half(curve, edge) for edge in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return None
    return Estimate(value, low, high, curve[0].recall.n)


def _falls_to_half(curve: Sequence[Point], edge: str) -> float | None:
    """The first size at which it is at most ½, by straight lines over the logarithm of the size."""
    before, above = 1.0, 1.0
    for point in curve:
        here = getattr(point.recall, edge)
        if here <= 0.5:
            share = (above - 0.5) / (above - here)
            return math.exp(math.log(before) + share * math.log(point.distractors / before))
        before, above = point.distractors, here
    return None


def _trust(variant: Distractors, k: int) -> dict[str, Any]:
    """How far what may be believed."""
    n = variant.least
    held = HELD * _mean(variant.recall_among(n, k))
    # Nothing found today is nothing to hold, and beyond tenfold nothing is asked.
    short = fewest(lambda m: m > 10 * n or _mean(variant.recall_bound(m, k)) < held)
    certified = short - 1 if held else 0
    if not variant.tail:
        return {"certified_to": certified, "modelled_to": None}
    at_n = _mean(variant.recall_beyond(n, k, variant.shape))
    model = {"modelled_to": FACTORS[-1] * n, "model_at_n": at_n, "shape": variant.shape}
    return {"certified_to": certified} | model


def _as_json(curve: Sequence[Point]) -> dict[str, Any]:
    return {"curve": [point._asdict() | {"recall": point.recall._asdict()} for point in curve]}
