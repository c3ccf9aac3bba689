"""Sample sizes: the number of queries that a guarantee or a difference needs."""

import math
from collections.abc import Callable

from scipy import special

from nestvec.errors import InputError
from nestvec.statistics.estimate import check_share
from nestvec.statistics.hypothesis_tests import binomial_p

_MAX_QUERIES = 1 << 40
"""More queries than anyone has."""


def queries_needed(target: float, failures: int, confidence: float = 0.95) -> int:
    """Compute the fewest queries that show a share of at least `target` when `failures` fail.

    The one-sided Clopper–Pearson bound reaches `target` there: 299 for 0.99 without failures.
    """
    alpha = 1 - check_share(target, "target")
    delta = 1 - check_share(confidence, "confidence")
    return smallest_true(lambda n: n > failures and binomial_p(failures, n, alpha) <= delta)


def units_needed(sd: float, difference: float, power: float = 0.8, confidence: float = 0.95) -> int:
    """Compute the number of paired units that show a mean difference, one-sided, at this power.

    It is ((z_confidence + z_power) · sd / difference)², rounded up; `sd` is the standard deviation
    of the differences.
    """
    if sd < 0 or difference <= 0:
        raise InputError(f"sd={sd} and difference={difference}; use sd >= 0 and difference > 0")
    z = special.ndtri(check_share(confidence, "confidence"))
    z += special.ndtri(check_share(power, "power"))
    return max(1, math.ceil((float(z) * sd / difference) ** 2))


def smallest_true(predicate: Callable[[int], bool], limit: int = _MAX_QUERIES) -> int:
    """Find the smallest number from 1 on for which `predicate` is true.

    The predicate must stay true from there on. The result is `limit`, a power of two (2⁴⁰), where
    it is true for no smaller number.
    """
    high = 1
    while high < limit and not predicate(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if predicate(middle) else (middle, high)
    return high
