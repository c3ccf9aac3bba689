"""Ids, texts and metadata of callers, checked and converted to rows of the catalog."""

import json
from collections.abc import Collection, Iterable, Iterator, KeysView, Mapping, Sequence, Set
from datetime import date, time
from decimal import Decimal
from itertools import repeat
from typing import Any

import numpy as np

from nestvec.errors import IdsError, InputError
from nestvec.index.storage.manifest import RowRecord


def check_ids(ids: Any, n: int | None = None, *, ordered: bool = True) -> np.ndarray:
    """Convert ids to an int64 or object (str) array; a single int or string is one id.

    `IdsError` unless they are all whole numbers or all strings, none occurs twice and, with `n`,
    there is one for each of `n` rows. Sets are refused where the ids are `ordered`.
    """
    values = list_ids(ids, ordered=ordered)
    if n is not None and len(values) != n:
        raise IdsError(f"{len(values)} ids were given for {n} vectors; give one id per vector")
    array = id_array(values)
    _check_unique(values)
    return array


def list_ids(ids: Any, *, ordered: bool = True) -> list[Any]:
    """List the values of any collection of ids as Python objects; a single value is one id.

    Collections are lists, tuples, ranges, iterators and one-dimensional arrays and columns (NumPy,
    pandas, Arrow, PyTorch). `IdsError` for mappings, tables and, where the ids are `ordered`, sets.
    """
    # A string is a sequence of strings and bytes one of numbers: neither is meant.
    if isinstance(ids, str | bytes | bytearray | memoryview | int | np.generic):
        values = [ids]
    elif isinstance(ids, Mapping) or getattr(ids, "ndim", 1) > 1 or not _iterable(ids):
        shape = getattr(ids, "shape", None)
        raise IdsError(
            f"a {type(ids).__name__}{f' of shape {tuple(shape)}' if shape else ''} is not a "
            "collection of ids; give one id, or a list or one-dimensional array of ids"
        )
    elif ordered and isinstance(ids, Set) and not isinstance(ids, KeysView):
        raise IdsError(
            f"ids in a {type(ids).__name__} have no order that says which row each is for; "
            "give a list"
        )
    else:
        # `tolist` of arrays and columns returns Python values, and a single value without a list.
        values = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        values = values if isinstance(values, list) else [values]
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _iterable(value: Any) -> bool:
    try:
        iter(value)
    except TypeError:  # an array of no dimensions says so late
        return getattr(value, "ndim", None) == 0
    return True


def id_array(values: Sequence[Any]) -> np.ndarray:
    """Convert ids to an int64 or str array; `IdsError` unless all are numbers or all strings."""
    kinds = {type(value) for value in values}
    if not kinds <= {int} and not kinds <= {str}:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise IdsError(f"the ids are of type {names}; give whole numbers only, or strings only")
    if kinds == {str}:
        for id_ in values:
            _check_text(id_, "id", IdsError)
        array = np.empty(len(values), object)
        array[:] = values
        return array
    try:
        return np.array(values, np.int64)
    except OverflowError:
        raise IdsError("an id does not fit into 64 bits; use smaller numbers or strings") from None


def id_kind(ids: np.ndarray) -> str | None:
    """Name the kind of these ids: "int", "str", or None where there are none."""
    return None if len(ids) == 0 else "int" if ids.dtype.kind == "i" else "str"


def _check_unique(ids: list[Any]) -> None:
    if len(set(ids)) == len(ids):
        return
    seen: set[Any] = set()
    for id_ in ids:
        if id_ in seen:
            raise IdsError(f"id {id_!r} occurs more than once; ids must be unique")
        seen.add(id_)


def row_records(
    ids: np.ndarray,
    first: int,
    texts: Iterable[str | None] | None,
    metadata: Iterable[Mapping[str, Any] | None] | None,
) -> Iterator[RowRecord]:
    """Make the records of rows numbered from `first`; lengths are checked before."""
    texts_or_none = repeat(None) if texts is None else texts
    metadata_or_none = repeat(None) if metadata is None else metadata
    for row, (id_, text, record) in enumerate(
        zip(ids.tolist(), texts_or_none, metadata_or_none, strict=False)
    ):
        if text is not None:
            _check_text(text, f"texts[{row}]")
        json_ = None if record is None else as_json(record, f"metadata[{row}]")
        yield first + row, id_, text, json_


def check_length(
    values: Collection[Any] | np.ndarray | None, n: int, name: str, of: str = "vectors"
) -> None:
    """Raise `InputError` unless `values` is None or a sequence of `n`, and no text itself."""
    if isinstance(values, str | bytes | bytearray | Mapping | Set):
        raise InputError(
            f"{name} are a single {type(values).__name__}; give a list with one for each of the "
            f"{n} {of}"
        )
    if values is not None and len(values) != n:
        raise InputError(f"{len(values)} {name} were given for {n} {of}; give one for each")


def _check_text(text: Any, name: str, error: type[InputError] = InputError) -> None:
    try:
        text.encode()
    except (AttributeError, UnicodeEncodeError):
        raise error(f"{name} {text!r} is not text that UTF-8 can hold; leave it out") from None


def as_json(value: Mapping[str, Any], name: str) -> str:
    """Write an object as JSON text; `InputError` for values that JSON does not have.

    NumPy's scalars and `Decimal` become numbers, dates and times ISO 8601 texts, NaN null.
    """
    try:
        plain = _without_nan(dict(value))
        return json.dumps(plain, allow_nan=False, default=_as_plain)  # NaN is damage to SQLite
    except (TypeError, ValueError, RecursionError) as e:
        raise InputError(
            f"{name} is not a JSON object ({e}); use texts, numbers, lists and objects"
        ) from None


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return None if value != value else value  # NaN alone differs from itself
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return value


def _as_plain(value: Any) -> Any:
    """Convert a value that `json` does not know; `TypeError` for one that has no JSON form."""
    if isinstance(value, np.generic | np.ndarray):
        return _without_nan(value.tolist())
    if isinstance(value, Decimal):
        return _without_nan(float(value))
    if isinstance(value, date | time):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} {value!r} has no form in JSON")
