"""Estimates, and the check of shares that intervals and tests have in common."""

from typing import NamedTuple

from nestvec.errors import InputError


class Estimate(NamedTuple):
    """A value, its interval [low, high] and the number of independent units (queries, groups)."""

    value: float
    low: float
    high: float
    n: int


def check_share(share: float, name: str) -> float:
    """Return `share` if it lies between 0 and 1, both excluded; else raise `InputError`."""
    if not 0 < share < 1:
        raise InputError(f"{name}={share} is out of range; use more than 0 and less than 1")
    return float(share)
