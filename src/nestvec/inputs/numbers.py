"""Vectors in records: the fields that hold them, and their numbers however they are written."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

VECTOR_FIELDS = ("embedding", "embeddings", "vector", "vectors")
"""Fields whose numbers are a vector, however few."""

SHARED_FIELDS = ("emb", "dense", "values")
"""Fields that hold vectors in some exports and other numbers in others: long lists are vectors."""

LONG = 16
"""So many numbers in one list are hardly a list of years or a bounding box."""


def vector_fields(record: Mapping[str, Any]) -> list[str]:
    """The fields of a record that are known to hold its vector; nested ones as `outer.inner`."""
    lengths = _lengths(record)
    names = [path for path in lengths if path.partition(".")[0] in VECTOR_FIELDS]
    return names or [
        path
        for path, length in lengths.items()
        if path.partition(".")[0] in SHARED_FIELDS and length >= LONG
    ]


def long_lists(record: Mapping[str, Any]) -> list[str]:
    """The fields of any name with `LONG` numbers or more; nested ones as `outer.inner`."""
    return [path for path, length in _lengths(record).items() if length >= LONG]


def row_of(record: Mapping[str, Any], field: str) -> Any:
    """The value of a field, `outer.inner` for a nested one; a text of numbers as a list of them.

    `KeyError` for a field that is not there.
    """
    value: Any = record
    if field in record:
        value = record[field]
    else:
        for name in field.split("."):
            if not isinstance(value, Mapping):
                raise KeyError(field)
            value = value[name]
    numbers = _numbers_in_text(value) if isinstance(value, str) else None
    return value if numbers is None else numbers


def without_field(record: Mapping[str, Any], field: str) -> dict[str, Any]:
    """The record without a field; a nested one goes from inside its outer field, alone."""
    if field in record:
        return {name: value for name, value in record.items() if name != field}
    outer, _, inner = field.partition(".")
    value = record.get(outer)
    if not inner or not isinstance(value, Mapping):
        return dict(record)
    rest = without_field(value, inner)
    return {**without_field(record, outer), **({outer: rest} if rest else {})}


def _lengths(record: Mapping[str, Any]) -> dict[str, int]:
    """Count the numbers that each field holds in one list; fields without numbers are left out."""
    return {path: length for path, length in _walk(record, "") if length}


def _walk(record: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, int]]:
    for name, value in record.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _walk(value, f"{path}.")
        elif isinstance(value, list):
            yield path, _longest(value)
        elif isinstance(value, str):
            numbers = _numbers_in_text(value, packed=name in VECTOR_FIELDS)
            yield path, 0 if numbers is None else len(numbers)


def _longest(values: list[Any]) -> int:
    """The length of a list of numbers, or of the longest such list inside."""
    if values and all(type(value) in (int, float) for value in values):
        return len(values)
    return max((_longest(value) for value in values if isinstance(value, list)), default=0)


def _numbers_in_text(text: str, packed: bool = True) -> list[float] | None:
    """Numbers as tables hold them, `[0.1, 0.2]` or `[0.1 0.2]`; `packed`, also base64 of float32.

    None for any other text, and for base64 of fewer than `LONG` finite numbers, because a short
    word could happen to be base64.
    """
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        try:
            return [float(part) for part in text[1:-1].replace(",", " ").split()] or None
        except ValueError:
            return None
    if not packed or len(text) < LONG * 4:
        return None
    try:
        numbers = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4")
    except ValueError:
        return None
    usable = len(numbers) >= LONG and bool(np.isfinite(numbers).all())
    return numbers.tolist() if usable else None


def is_list_of_numbers(types: Any, kind: Any) -> bool:
    """Tell whether a type of Arrow is a list of numbers; `types` is `pyarrow.types`.

    Tensors of Arrow's own type with one axis are such lists too.
    """
    if len(getattr(kind, "shape", None) or ()) == 1:
        kind = kind.storage_type
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if not is_list:
        return False
    return bool(types.is_floating(kind.value_type) or types.is_integer(kind.value_type))
