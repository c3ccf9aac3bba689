"""What a number from a sample says of the whole: estimates with intervals, tests, sample sizes.

Everything is one-sided or two-sided at a stated confidence; nothing is rounded. Randomness takes a
`numpy.random.Generator`. A sample is of *units* that were drawn independently: queries, or, where
queries come in clusters (users, sessions), whole groups of them.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

# scipy.stats would make every command that shows a number start half a second later.
from scipy import special

from nestvec.errors import InputError
from nestvec.shapes import Float64

_BLOCK = 1 << 21
"""Units that are drawn at a time: bounds the memory of a bootstrap at some 50 MiB."""


class Estimate(NamedTuple):
    """A value, its interval and how many independent units (queries, groups) it was made of."""

    value: float
    low: float
    high: float
    n: int


# --- shares --------------------------------------------------------------------------------------


def proportion(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """A share and its exact two-sided interval (Clopper & Pearson, 1934).

    Half of what is left of the confidence lies on either side, even where the share is 0 or 1: so
    `proportion(s, n, 2 * c - 1).low` is the one-sided bound at confidence `c`.
    """
    _check_share(successes, n)
    tail = (1 - _checked(confidence, "confidence")) / 2
    low = special.betaincinv(successes, n - successes + 1, tail) if successes else 0.0
    high = special.betaincinv(successes + 1, n - successes, 1 - tail) if successes < n else 1.0
    return Estimate(successes / n, float(low), float(high), n)


def binomial_p(failures: int, n: int, alpha: float) -> float:
    """P(Bin(n, alpha) <= failures): the exact p-value of "things fail more often than `alpha`".

    Small where that is hard to believe, as `failures` are few.
    """
    _check_share(failures, n)
    return float(special.bdtr(failures, n, alpha))


def mcnemar(lost: int, won: int) -> float:
    """The exact two-sided p-value of "as many are lost as are won" (McNemar, 1947).

    `lost` and `won` count the pairs in which only the one or only the other is right; 1 without
    any. Twice the smaller tail of Bin(lost + won, 1/2).
    """
    if min(lost, won) < 0:
        raise InputError(f"lost={lost} and won={won} are counts; give whole numbers from 0")
    return min(1.0, 2 * float(special.bdtr(min(lost, won), lost + won, 0.5)))


# --- means of bounded losses ---------------------------------------------------------------------


def hoeffding_bentkus(risk: float, n: int, alpha: float) -> float:
    """The p-value of "the mean loss is above `alpha`" when `n` losses in [0, 1] average to `risk`.

    min{exp(−n·h(min(risk, α), α)), e·P(Bin(n, α) ≤ ⌈n·risk⌉)} with h(a, b) the relative entropy of
    two coins (Bates et al., 2021; Angelopoulos et al., 2110.01052, prop. 3). Valid at every `n`,
    whatever the losses are distributed like.
    """
    if n < 1 or not 0 <= risk <= 1:
        raise InputError(f"a mean loss of {risk} of n={n} queries is not within 0 to 1 of n >= 1")
    a = min(risk, _checked(alpha, "alpha"))
    entropy = special.rel_entr(a, alpha) + special.rel_entr(1 - a, 1 - alpha)
    # The sum of losses such as 3/10 is a whole number but for the last bits of its floats.
    whole = math.ceil(round(n * risk, 9))
    bentkus = math.e * float(special.bdtr(whole, n, alpha))
    return min(1.0, math.exp(-n * float(entropy)), bentkus)


def largest_mean_loss(risk: float, n: int, confidence: float = 0.95) -> float:
    """The one-sided upper bound that `hoeffding_bentkus` gives: what it refutes is above this."""
    left = 1 - _checked(confidence, "confidence")
    low, high = risk, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        refuted = hoeffding_bentkus(risk, n, middle) <= left
        low, high = (low, middle) if refuted else (middle, high)
    return high


# --- sample sizes --------------------------------------------------------------------------------


def queries_needed(target: float, failures: int, confidence: float = 0.95) -> int:
    """The fewest queries that prove a share of at least `target` when `failures` of them fail.

    The one-sided Clopper–Pearson bound reaches `target` there: 299 for 0.99 without failures.
    """
    alpha = 1 - _checked(target, "target")
    left = 1 - _checked(confidence, "confidence")
    return fewest(lambda n: binomial_p(min(failures, n), n, alpha) <= left)


def needed_for_difference(
    sd: float, difference: float, power: float = 0.8, confidence: float = 0.95
) -> int:
    """How many paired units show a mean difference, one-sided, with the given power.

    ((z_confidence + z_power) · sd / difference)², rounded up; `sd` is that of the differences.
    """
    if sd < 0 or difference <= 0:
        raise InputError(f"sd={sd} and difference={difference}: use sd >= 0 and difference > 0")
    z = special.ndtri(_checked(confidence, "confidence")) + special.ndtri(_checked(power, "power"))
    return max(1, math.ceil((float(z) * sd / difference) ** 2))


def fewest(enough: Callable[[int], bool], most: int = 1 << 40) -> int:
    """The smallest number from 1 on of which `enough` is true, when it stays true from there on.

    `most` where none below that is enough.
    """
    high = 1
    while high < most and not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return min(high, most)


# --- bootstrap -----------------------------------------------------------------------------------


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
    tail = (1 - _checked(confidence, "confidence")) / 2
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
    low, _ = sample.quantiles(rng, resamples, (1 - _checked(confidence, "confidence"), 1.0))
    return low


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
            raise InputError(f"groups have shape {unit.shape}; give one for each {above.shape}")
        return cls(np.bincount(unit, above), np.bincount(unit, below))

    @property
    def ratio(self) -> float:
        """Of the sums, and so of the means."""
        return float(self.numerators.sum() / self.denominators.sum())

    def quantiles(
        self, rng: np.random.Generator, resamples: int, levels: tuple[float, float]
    ) -> tuple[float, float]:
        """Bounds of the ratio with the given chances to be above it, by BCa."""
        if len(self.numerators) == 1:
            return -math.inf, math.inf
        ratios = self._resampled(rng, resamples)
        below = (np.mean(ratios < self.ratio) + np.mean(ratios <= self.ratio)) / 2
        bias = float(special.ndtri(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples)))
        skew = self._acceleration()
        low, high = (float(np.quantile(ratios, _bca(bias, skew, level))) for level in levels)
        return low, high

    def _resampled(self, rng: np.random.Generator, resamples: int) -> Float64[np.ndarray, " kept"]:
        units = len(self.numerators)
        sums = np.empty((resamples, 2))
        block = max(1, _BLOCK // units)
        for first in range(0, resamples, block):
            drawn = rng.integers(0, units, (min(block, resamples - first), units), dtype=np.int32)
            sums[first : first + block, 0] = self.numerators[drawn].sum(axis=1)
            sums[first : first + block, 1] = self.denominators[drawn].sum(axis=1)
        kept = sums[sums[:, 1] > 0]
        return np.asarray(kept[:, 0] / kept[:, 1])

    def _acceleration(self) -> float:
        """A sixth of the skewness of what each unit pulls the ratio by."""
        pulls = self.numerators - self.ratio * self.denominators
        spread = float((pulls**2).sum()) ** 1.5
        return float((pulls**3).sum()) / (6 * spread) if spread > 0 else 0.0


def _bca(bias: float, acceleration: float, level: float) -> float:
    """The level at which to read the quantile that has the chance `level`."""
    z = bias + float(special.ndtri(level))
    shrink = 1 - acceleration * z
    # Beyond the pole, and at level 1, it is the end of what was drawn.
    return float(special.ndtr(bias + z / shrink)) if shrink > 0 and math.isfinite(z) else z > 0


# --- many tests at once --------------------------------------------------------------------------


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: those up to δ are significant together (Holm, 1979).

    The chance that even one of them is a mistake is at most δ, however the tests depend.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


# --- checks --------------------------------------------------------------------------------------


def _checked(share: float, name: str) -> float:
    if not 0 < share < 1:
        raise InputError(f"{name}={share} is out of range; use more than 0 and less than 1")
    return share


def _check_share(count: int, n: int) -> None:
    if not 0 <= count <= n or n < 1:
        raise InputError(f"{count} of n={n} is no share; use n >= 1 and a count from 0 to n")


def _column(values: ArrayLike, name: str) -> Float64[np.ndarray, " n"]:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1 or not len(column) or not np.isfinite(column).all():
        raise InputError(f"{name} {column.shape} are not finite numbers [n >= 1], one per query")
    return column
