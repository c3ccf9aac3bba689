"""What a number from a sample says of the whole: estimates with intervals, tests, sample sizes.

Everything is one-sided or two-sided at a stated confidence; nothing is rounded. Randomness takes a
`numpy.random.Generator`.
"""

from typing import NamedTuple


class Estimate(NamedTuple):
    """A value, its interval and how many independent units (queries, groups) it was made of."""

    value: float
    low: float
    high: float
    n: int
