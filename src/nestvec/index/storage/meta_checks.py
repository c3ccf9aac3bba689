"""Checks of the catalog's entries about the whole index, before anything trusts them.

A checksum finds what a disk breaks, not what a program wrote wrongly or a person crafted.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from nestvec.errors import PlanError
from nestvec.index.options import are_columns
from nestvec.index.storage.manifest import Manifest
from nestvec.plan import Plan

_MAX_INT = 2**63 - 1
_Test = Callable[[Any], bool]


def check_meta(manifest: Manifest) -> None:
    """`ValueError` names the first entry that is missing or cannot be."""
    for name, test in _REQUIRED.items():
        if name not in manifest.meta:
            raise ValueError(f"it says no {name}")
        if not test(manifest.meta[name]):
            raise ValueError(f"its {name} cannot be {_short(manifest.meta[name])}")
    for name, test in _OPTIONAL.items():
        if name in manifest.meta and not test(manifest.meta[name]):
            raise ValueError(f"its {name} cannot be {_short(manifest.meta[name])}")
    last = max((entry.segment for entry in manifest.entries), default=0)
    if manifest.meta["next_segment"] <= last:
        raise ValueError(f"its next segment is no later than segment {last}")


def _short(value: Any) -> str:
    return repr(value)[:40]


def _whole(least: int, most: int = _MAX_INT) -> _Test:
    return lambda value: type(value) is int and least <= value <= most


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _share(value: Any) -> bool:
    return _number(value) and 0 <= value <= 1


def _record(**tests: _Test) -> _Test:
    """Test for an object that has at least these fields."""
    return lambda value: (
        isinstance(value, Mapping)
        and all(name in value and test(value[name]) for name, test in tests.items())
    )


def _is_plan(value: Any) -> bool:
    try:
        return isinstance(value, str) and Plan.parse(value) is not None
    except PlanError:
        return False


def _is_model(value: Any) -> bool:
    return value is None or isinstance(value, Mapping)


def _are_tuned_plans(value: Any) -> bool:
    is_entry = _record(plan=_is_plan, rows=_whole(0), evidence=_record())
    return isinstance(value, Mapping) and all(
        k.isdecimal() and k.isascii() and len(k) < 19 and is_entry(entry)
        for k, entry in value.items()
    )


_REQUIRED: Mapping[str, _Test] = {
    "generation": _whole(1),
    "lineage": lambda value: isinstance(value, str) and bool(value),
    "dim": _whole(1, 2**31),
    "metric": lambda value: value in ("ip", "cosine", "euclidean"),
    "rotation": lambda value: value in ("pca", "none"),
    "bits": lambda value: _number(value) and 0 < value <= 8,
    "seed": lambda value: type(value) is int and value >= 0,
    "next_row": _whole(0),
    "next_segment": _whole(0),
    "model": _is_model,
}
_OPTIONAL: Mapping[str, _Test] = {
    "adapter": _record(fingerprint=lambda value: isinstance(value, str), dim=_whole(1, 2**31)),
    "tuned": _are_tuned_plans,
    "default_recall": _record(
        value=_share, low=_share, high=_share, n=_whole(1), k=_whole(1), plan=_is_plan,
        rows=_whole(0),
    ),
    "columns": are_columns,
}  # fmt: skip
