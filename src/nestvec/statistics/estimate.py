"""A number from a sample, and the rules that its makers share."""

from typing import NamedTuple

from nestvec.errors import InputError


class Estimate(NamedTuple):
    """A value, its interval and how many independent units (queries, groups) it was made of."""

    value: float
    low: float
    high: float
    n: int


def check_share(share: float, name: str) -> float:
    """`share` if it lies between 0 and 1, both excluded; else `InputError`."""
    if not 0 < share < 1:
        raise InputError(f"{name}={share} is out of range; use more than 0 and less than 1")
    return float(share)
