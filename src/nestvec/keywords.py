"""Keyword options as typed mappings (PEP 692), completed and checked in one place."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nestvec.errors import InputError


def complete(options: Mapping[str, Any], defaults: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Complete options with their defaults; `InputError` names an option that `owner` lacks."""
    unknown = sorted(options.keys() - defaults.keys())
    if unknown:
        raise InputError(
            f"{', '.join(unknown)} is no option of {owner}; the options are {', '.join(defaults)}"
        )
    return {**defaults, **options}


def check_seed(seed: Any) -> int:
    """Return a seed as an int; `InputError` unless it is a whole number of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed={seed!r} is not a whole number of at least 0; use one such as 0")
    return int(seed)
