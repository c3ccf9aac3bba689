"""Types for tables: TSV and CSV hold strings, and a filter such as `year >= 2015` needs numbers."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_INT64 = 2**63


def typed(rows: Sequence[Mapping[str, str]]) -> tuple[dict[str, Any], ...]:
    """The rows with the columns that are numbers as numbers, and empty fields as None.

    A column is whole numbers, or numbers, if every field of it that is not empty is written as
    Python would write one. So nothing is lost: with a single `007`, `12.50` or 20-digit number a
    column remains texts.
    """
    if not rows:
        return ()
    read = {name: _reader([row[name] for row in rows]) for name in rows[0]}
    return tuple(
        {name: read[name](row[name]) if row[name] else None for name in row} for row in rows
    )


def _reader(fields: Sequence[str]) -> Callable[[str], Any]:
    """Choose the type of a column's fields: `int`, `float` or else `str`."""
    filled = [field for field in fields if field]
    if filled and all(map(_is_int, filled)):
        return int
    return float if filled and all(map(_is_float, filled)) else str


def _is_int(field: str) -> bool:
    value = _value(int, field)
    return value is not None and str(value) == field and -_INT64 <= value < _INT64


def _is_float(field: str) -> bool:
    value = _value(float, field)
    if value is None or not math.isfinite(value):
        return False
    return field in (repr(value), repr(value).removesuffix(".0"))


def _value(kind: Callable[[str], Any], field: str) -> Any:
    try:
        return kind(field)
    except ValueError:
        return None
