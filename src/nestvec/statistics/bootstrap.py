"""Intervals of means and of ratios of means, by drawing the sample anew from itself."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from nestvec.errors import InputError
from nestvec.shapes import Float64
from nestvec.statistics.estimate import Estimate, check_share

_BLOCK = 1 << 21
"""Units that are drawn at a time: bounds the memory of a bootstrap at some 30 MiB."""


def bootstrap_mean(
    values: ArrayLike,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 2000,
    groups: ArrayLike | None = None,
) -> Estimate:
    """The mean of `values` [n] and its two-sided bootstrap interval; `n` counts units.

    BCa (Efron, 1987): losses of retrieval are zero for most queries and large for a few, and the
    plain percentile interval is then too short on the side that matters. `groups` [n] names what
    was drawn together: whole groups are resampled. Values that do not differ give an interval of
    no width, which is no proof: use `proportion` where all queries are perfect. One unit says
    nothing of others: its interval is infinite.
    """
    column = _column(values, "values")
    return bootstrap_ratio(column, np.ones_like(column), rng, confidence, resamples, groups)


def bootstrap_ratio(
    numerators: ArrayLike,
    denominators: ArrayLike,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 2000,
    groups: ArrayLike | None = None,
) -> Estimate:
    """mean(numerators) / mean(denominators), both [n] and of the same units, as `bootstrap_mean`.

    Paired: both values of a unit are drawn together. Denominators are at least 0 and not all 0;
    resamples in which they are all 0 have no ratio and are left out.
    """
    tail = (1 - check_share(confidence, "confidence")) / 2
    sample = _Sample.of(numerators, denominators, groups)
    low, high = sample.quantiles(rng, resamples, (tail, 1 - tail))
    return Estimate(sample.ratio, low, high, len(sample.numerators))


def lower_bound_of_ratio(
    numerators: ArrayLike,
    denominators: ArrayLike,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 2000,
    groups: ArrayLike | None = None,
) -> float:
    """The one-sided lower bound of what `bootstrap_ratio` estimates."""
    sample = _Sample.of(numerators, denominators, groups)
    left = 1 - check_share(confidence, "confidence")
    return sample.quantiles(rng, resamples, (left,))[0]


class _Sample(NamedTuple):
    """What each unit adds to both sides of a ratio."""

    numerators: Float64[np.ndarray, " units"]
    denominators: Float64[np.ndarray, " units"]

    @classmethod
    def of(
        cls, numerators: ArrayLike, denominators: ArrayLike, groups: ArrayLike | None
    ) -> "_Sample":
        """One unit per value, or per group: its sums."""
        above, below = _column(numerators, "numerators"), _column(denominators, "denominators")
        if len(above) != len(below) or below.min() < 0 or not below.any():
            raise InputError(
                f"{len(above)} numerators over {len(below)} denominators have no ratio of means; "
                "give as many of both, and denominators of at least 0 that are not all 0"
            )
        if groups is None:
            return cls(above, below)
        _, unit = np.unique(np.asarray(groups), return_inverse=True)
        if unit.shape != above.shape:
            raise InputError(
                f"groups have shape {unit.shape} and values {above.shape}; give one for each"
            )
        return cls(np.bincount(unit, above), np.bincount(unit, below))

    @property
    def ratio(self) -> float:
        """Of the sums, and so of the means."""
        return float(self.numerators.sum() / self.denominators.sum())

    def quantiles(
        self, rng: np.random.Generator, resamples: int, levels: tuple[float, ...]
    ) -> list[float]:
        """For each level a bound that the ratio is below with about that chance, by BCa."""
        if len(self.numerators) == 1:
            return [-math.inf if level < 0.5 else math.inf for level in levels]
        ratios, ratio = self._resampled(rng, resamples), self.ratio
        below = (np.mean(ratios < ratio) + np.mean(ratios <= ratio)) / 2
        bias = float(special.ndtri(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples)))
        skew = self._acceleration()
        return [float(np.quantile(ratios, _corrected(level, bias, skew))) for level in levels]

    def _resampled(self, rng: np.random.Generator, resamples: int) -> Float64[np.ndarray, " kept"]:
        units = len(self.numerators)
        # Most ratios are means: what is below them need not be drawn.
        is_mean = bool((self.denominators == 1).all())
        sums = np.full((resamples, 2), float(units))
        block = max(1, _BLOCK // units)
        for first in range(0, resamples, block):
            drawn = rng.integers(0, units, (min(block, resamples - first), units), dtype=np.int32)
            sums[first : first + block, 0] = self.numerators[drawn].sum(axis=1)
            if not is_mean:
                sums[first : first + block, 1] = self.denominators[drawn].sum(axis=1)
        kept = sums[sums[:, 1] > 0]
        return np.asarray(kept[:, 0] / kept[:, 1])

    def _acceleration(self) -> float:
        """A sixth of the skewness of what each unit pulls the ratio by."""
        pulls = self.numerators - self.ratio * self.denominators
        spread = float((pulls**2).sum()) ** 1.5
        return float((pulls**3).sum()) / (6 * spread) if spread > 0 else 0.0


def _corrected(level: float, bias: float, acceleration: float) -> float:
    """The level of the resampled ratios at which to read the bound for `level` (Efron, eq. 2.3)."""
    z = bias + float(special.ndtri(level))
    shrink = 1 - acceleration * z
    # Beyond the pole it is the end of what was drawn.
    return float(special.ndtr(bias + z / shrink)) if shrink > 0 else float(z > 0)


def _column(values: ArrayLike, name: str) -> Float64[np.ndarray, " n"]:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1 or not len(column) or not np.isfinite(column).all():
        raise InputError(f"{name} {column.shape} are not finite numbers [n >= 1], one per query")
    return column
