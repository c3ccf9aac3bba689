"""Keyword options as typed mappings (PEP 692), completed and checked in one place."""

from collections.abc import Mapping
from typing import Any

from nestvec.errors import InputError


def complete(options: Mapping[str, Any], defaults: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Complete options with their defaults; `InputError` names an option that `owner` lacks."""
    unknown = sorted(options.keys() - defaults.keys())
    if unknown:
        raise InputError(
            f"{', '.join(unknown)} is no option of {owner}; the options are {', '.join(defaults)}"
        )
    return {**defaults, **options}
