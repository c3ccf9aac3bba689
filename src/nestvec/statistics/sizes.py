"""How many queries it takes."""

import math
from collections.abc import Callable

from scipy import special

from nestvec.errors import InputError
from nestvec.statistics.estimate import check_share
from nestvec.statistics.exact import binomial_p

_MOST = 1 << 40
"""No one has so many queries."""


def queries_needed(target: float, failures: int, confidence: float = 0.95) -> int:
    """The fewest queries that prove a share of at least `target` when `failures` of them fail.

    The one-sided Clopper–Pearson bound reaches `target` there: 299 for 0.99 without failures.
    """
    alpha = 1 - check_share(target, "target")
    left = 1 - check_share(confidence, "confidence")
    return fewest(lambda n: n > failures and binomial_p(failures, n, alpha) <= left)


def needed_for_difference(
    sd: float, difference: float, power: float = 0.8, confidence: float = 0.95
) -> int:
    """How many paired units show a mean difference, one-sided, with the given power.

    ((z_confidence + z_power) · sd / difference)², rounded up; `sd` is that of the differences.
    """
    if sd < 0 or difference <= 0:
        raise InputError(f"sd={sd} and difference={difference}; use sd >= 0 and difference > 0")
    z = special.ndtri(check_share(confidence, "confidence"))
    z += special.ndtri(check_share(power, "power"))
    return max(1, math.ceil((float(z) * sd / difference) ** 2))


def fewest(enough: Callable[[int], bool], most: int = _MOST) -> int:
    """The smallest number from 1 on of which `enough` is true, if it stays true from there on.

    `most`, a power of two (2⁴⁰), where none below that is enough.
    """
    high = 1
    while high < most and not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
