"""Rules that settings of several recipes share."""

import math
from typing import Any

from nestvec.errors import InputError


def at_least(bound: int, **settings: Any) -> None:
    """Refuse what is below `bound` or not finite; None is a setting left out."""
    for name, value in settings.items():
        if value is not None and not bound <= value < math.inf:
            raise InputError(f"{name}={value} is out of range; use {bound} or more")


def above_zero(**settings: Any) -> None:
    """Refuse what is not above 0 or not finite; None is a setting left out."""
    for name, value in settings.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name}={value} is out of range; use a finite number above 0")
