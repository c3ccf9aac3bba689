"""Bootstrap intervals of means and of ratios of means: BCa (Efron, 1987), paired and grouped."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from nestvec.errors import InputError
from nestvec.shapes import Float64
from nestvec.statistics.estimate import Estimate, check_share

_BLOCK = 1 << 21
"""Units that are drawn at a time: the memory of a bootstrap stays at about 30 MiB."""


def bootstrap_mean(
    values: ArrayLike,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 2000,
    groups: ArrayLike | None = None,
) -> Estimate:
    """Estimate the mean of `values` [n] with a two-sided bootstrap interval; `n` counts units.

    The interval is BCa (Efron, 1987): losses of retrieval are zero for most queries and large for a
    few, and the plain percentile interval is then too short on the side that matters. `groups` [n]
    are labels of units that were drawn together: whole groups are resampled. Values that do not
    differ have an interval of no width, which proves nothing: use `proportion` where all queries
    are perfect. The interval of a single unit is infinite. `InputError` for values that are not
    finite.
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
    """Estimate mean(numerators) / mean(denominators), both [n], as `bootstrap_mean` does.

    The values are paired: both are of the same unit and are drawn together. Denominators are at
    least 0 and not all 0 (`InputError`); resamples in which all are 0 have no ratio and are left
    out.
    """
    tail = (1 - check_share(confidence, "confidence")) / 2
    sample = _Sample.from_values(numerators, denominators, groups)
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
    """Compute the one-sided lower bound of the ratio that `bootstrap_ratio` estimates."""
    sample = _Sample.from_values(numerators, denominators, groups)
    delta = 1 - check_share(confidence, "confidence")
    return sample.quantiles(rng, resamples, (delta,))[0]


class _Sample(NamedTuple):
    """The sums of each unit on both sides of a ratio."""

    numerators: Float64[np.ndarray, " units"]
    denominators: Float64[np.ndarray, " units"]

    @classmethod
    def from_values(
        cls, numerators: ArrayLike, denominators: ArrayLike, groups: ArrayLike | None
    ) -> "_Sample":
        """Make one unit of each value, or of the sums of each group."""
        top, bottom = _column(numerators, "numerators"), _column(denominators, "denominators")
        if len(top) != len(bottom) or bottom.min() < 0 or not bottom.any():
            raise InputError(
                f"{len(top)} numerators over {len(bottom)} denominators have no ratio of means; "
                "pass as many of both, and denominators of at least 0 that are not all 0"
            )
        if groups is None:
            return cls(top, bottom)
        _, unit = np.unique(np.asarray(groups), return_inverse=True)
        if unit.shape != top.shape:
            raise InputError(
                f"groups have shape {unit.shape} and values {top.shape}; pass a label for each"
            )
        return cls(np.bincount(unit, top), np.bincount(unit, bottom))

    @property
    def ratio(self) -> float:
        """The ratio of the sums, which is that of the means."""
        return float(self.numerators.sum() / self.denominators.sum())

    def quantiles(
        self, rng: np.random.Generator, resamples: int, levels: tuple[float, ...]
    ) -> list[float]:
        """Compute by BCa, for each level, the bound with that probability of a smaller ratio."""
        if len(self.numerators) == 1:
            return [-math.inf if level < 0.5 else math.inf for level in levels]
        ratios, ratio = self._resampled(rng, resamples), self.ratio
        below = (np.mean(ratios < ratio) + np.mean(ratios <= ratio)) / 2
        bias = float(special.ndtri(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples)))
        skew = self._acceleration()
        return [float(np.quantile(ratios, _corrected(level, bias, skew))) for level in levels]

    def _resampled(self, rng: np.random.Generator, resamples: int) -> Float64[np.ndarray, " r"]:
        units = len(self.numerators)
        # Most ratios are means, whose denominators need no resampling.
        is_mean = bool((self.denominators == 1).all())
        sums = np.full((resamples, 2), float(units))
        block = max(1, _BLOCK // units)
        for start in range(0, resamples, block):
            drawn = rng.integers(0, units, (min(block, resamples - start), units), dtype=np.int32)
            sums[start : start + block, 0] = self.numerators[drawn].sum(axis=1)
            if not is_mean:
                sums[start : start + block, 1] = self.denominators[drawn].sum(axis=1)
        nonzero = sums[sums[:, 1] > 0]
        return np.asarray(nonzero[:, 0] / nonzero[:, 1])

    def _acceleration(self) -> float:
        """Compute a sixth of the skewness of the units' influence on the ratio."""
        influence = self.numerators - self.ratio * self.denominators
        spread = float((influence**2).sum()) ** 1.5
        return float((influence**3).sum()) / (6 * spread) if spread > 0 else 0.0


def _corrected(level: float, bias: float, acceleration: float) -> float:
    """Correct a level for bias and acceleration (Efron, eq. 2.3), to read it off the resamples."""
    z = bias + float(special.ndtri(level))
    shrink = 1 - acceleration * z
    # Beyond the pole the level is at the end of the resamples.
    return float(special.ndtr(bias + z / shrink)) if shrink > 0 else float(z > 0)


def _column(values: ArrayLike, name: str) -> Float64[np.ndarray, " n"]:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1 or not len(column) or not np.isfinite(column).all():
        raise InputError(f"{name} {column.shape} are not finite numbers [n >= 1], one per query")
    return column
