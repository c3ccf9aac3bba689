"""Range checks that the settings of several recipes share."""

import math
from typing import Any

from nestvec.errors import InputError


def check_at_least(minimum: int, **settings: Any) -> None:
    """Raise `InputError` for a setting below `minimum` or not finite; None is not checked."""
    for name, value in settings.items():
        if value is not None and not minimum <= value < math.inf:
            raise InputError(f"{name}={value} is out of range; use {minimum} or more")


def check_positive(**settings: Any) -> None:
    """Raise `InputError` for a setting that is not above 0 or not finite; None is not checked."""
    for name, value in settings.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name}={value} is out of range; use a finite number above 0")
