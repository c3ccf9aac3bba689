"""Paired values of the full vectors and a variant on the same queries, resampled together.

A hard query is hard for the full vectors and for the variant alike: an interval without the pairing
is too wide, and one that resamples only the variant is too narrow.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from nestvec.shapes import Float64
from nestvec.statistics import Estimate, bootstrap_ratio

CONFIDENCE = 0.95
RESAMPLES = 2000


class Paired(NamedTuple):
    """Scores of each query under the full vectors and under a variant, in the same order."""

    full: Float64[np.ndarray, " q"]
    variant: Float64[np.ndarray, " q"]


def interaction(clean: Paired, stressed: Paired, rng: np.random.Generator) -> Estimate | None:
    """Interaction of stress and compression: (stressed variant / full) / (clean variant / full).

    Each of the four is a mean over the same queries. 1: the stress costs the variant the share
    that it costs the full vectors; below 1: the variant amplifies it. Percentile bootstrap of whole
    queries, whose four values stay together. None where a divisor is 0: what scored nothing can
    lose nothing.
    """
    # Numerators first: [stressed variant · clean full] / [stressed full · clean variant].
    values = np.stack([stressed.variant, clean.full, stressed.full, clean.variant], axis=1)
    return _double_ratio(values.mean(axis=0), resampled_means(values, rng), len(values))


def slice_interaction(
    complement: Paired, in_slice: Paired, rng: np.random.Generator
) -> Estimate | None:
    """Interaction of a slice of the queries and compression.

    (variant / full in the slice) / (variant / full outside), as `interaction` but of different
    queries: the two sets are resampled each by itself. `n` is the size of the slice.
    """
    sides = [np.stack([scores.variant, scores.full], axis=1) for scores in (in_slice, complement)]
    order = [0, 3, 1, 2]
    value = np.concatenate([values.mean(axis=0) for values in sides])[order]
    means = np.concatenate([resampled_means(values, rng) for values in sides], axis=1)[:, order]
    return _double_ratio(value, means, len(in_slice.full))


def retention(values: Paired, rng: np.random.Generator) -> Estimate | None:
    """Variant / full, as means over queries; None where the full vectors score 0."""
    return bootstrap_ratio(values.variant, values.full, rng) if values.full.any() else None


def drop_missing(metrics: Mapping[str, Estimate | None]) -> dict[str, Estimate]:
    """Leave out metrics that could not be estimated: missing is not zero."""
    return {name: estimate for name, estimate in metrics.items() if estimate is not None}


def resampled_means(
    values: Float64[np.ndarray, "q columns"], rng: np.random.Generator
) -> Float64[np.ndarray, "resamples columns"]:
    """Mean of every column in each resample of whole rows, with replacement."""
    n = len(values)
    means = np.empty((RESAMPLES, values.shape[1]))
    for row in means:
        row[:] = np.bincount(rng.integers(n, size=n), minlength=n) @ values / n
    return means


def interval(
    resampled: Float64[np.ndarray, "resamples columns"],
) -> tuple[Float64[np.ndarray, " columns"], Float64[np.ndarray, " columns"]]:
    """Low and high of the central 95 % of each column."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return np.asarray(low), np.asarray(high)


def _double_ratio(
    value: Float64[np.ndarray, " four"], means: Float64[np.ndarray, "resamples four"], n: int
) -> Estimate | None:
    if not (value[2:] > 0).all():
        return None
    # A resample of few queries may leave a divisor 0: it has no ratio, and is left out.
    divisors = means[:, 2] * means[:, 3]
    defined = divisors > 0
    low, high = interval((means[defined, 0] * means[defined, 1] / divisors[defined])[:, None])
    ratio = float(value[0] * value[1] / (value[2] * value[3]))
    return Estimate(ratio, float(low[0]), float(high[0]), n)
