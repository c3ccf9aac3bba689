"""Tests and intervals that hold at every sample size, whatever the distribution."""

import math
from collections.abc import Sequence

# scipy.stats would make every command that shows a number start half a second later.
from scipy import special

from nestvec.errors import InputError
from nestvec.statistics.estimate import Estimate, check_share

# --- shares --------------------------------------------------------------------------------------


def proportion(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """Estimate a share with its exact two-sided interval (Clopper & Pearson, 1934).

    Each side has an error of (1 − `confidence`) / 2, even where the share is 0 or 1: so
    `proportion(s, n, 2 * c - 1).low` is the one-sided bound at confidence `c`. `InputError` for a
    count above `n`.
    """
    _check_count(successes, n)
    tail = (1 - check_share(confidence, "confidence")) / 2
    low = special.betaincinv(successes, n - successes + 1, tail) if successes else 0.0
    high = special.betaincinv(successes + 1, n - successes, 1 - tail) if successes < n else 1.0
    return Estimate(successes / n, float(low), float(high), n)


def binomial_p(failures: int, n: int, alpha: float) -> float:
    """Compute the exact p-value of "the rate of failures is above `alpha`".

    It is P(Bin(n, alpha) ≤ failures): small where there are too few failures for that.
    """
    _check_count(failures, n)
    return float(special.bdtr(failures, n, alpha))


def mcnemar(lost: int, won: int) -> float:
    """Compute the exact two-sided p-value of "as many pairs are lost as are won" (McNemar, 1947).

    `lost` and `won` count the pairs in which only the first, or only the second, is correct. The
    p-value is twice the smaller tail of Bin(lost + won, 1/2), and 1 without such pairs.
    """
    if min(lost, won) < 0:
        raise InputError(f"lost={lost} and won={won} are counts; pass whole numbers from 0")
    return min(1.0, 2 * float(special.bdtr(min(lost, won), lost + won, 0.5)))


def _check_count(count: int, n: int) -> None:
    if not 0 <= count <= n or n < 1:
        raise InputError(f"{count} of n={n} is no share; use n >= 1 and a count from 0 to n")


# --- means of losses in [0, 1] -------------------------------------------------------------------


def hoeffding_bentkus(risk: float, n: int, alpha: float) -> float:
    """Compute the p-value of "the mean loss is above `alpha`" from `n` losses of mean `risk`.

    Losses are in [0, 1]. The p-value is min{exp(−n·h(min(risk, α), α)), e·P(Bin(n, α) ≤ ⌈n·risk⌉)},
    with h(a, b) the relative entropy of two Bernoulli distributions (Bates et al., 2021;
    Angelopoulos et al., 2110.01052, prop. 3).
    """
    if n < 1 or not 0 <= risk <= 1:
        raise InputError(f"a mean loss of {risk} over n={n} is no sample; use 0 to 1, and n >= 1")
    a, alpha = min(risk, alpha), check_share(alpha, "alpha")
    entropy = float(special.rel_entr(a, alpha) + special.rel_entr(1 - a, 1 - alpha))
    # The sum of losses such as 3/10 is a whole number but for the last bits of its floats.
    count = math.ceil(round(n * risk, 9))
    return min(1.0, math.exp(-n * entropy), math.e * float(special.bdtr(count, n, alpha)))


# --- many tests at once --------------------------------------------------------------------------


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of several tests, in their order (Holm, 1979).

    Those up to δ are significant together: the probability that any of them is a mistake is at most
    δ, however the tests depend on each other.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
