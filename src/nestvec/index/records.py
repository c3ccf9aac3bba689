"""Ids, texts and metadata as a caller gives them, checked and made into catalog rows."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from nestvec.errors import IdsError, InputError
from nestvec.index.contents import RowRecord


def check_ids(ids: Sequence[Any] | np.ndarray, n: int) -> np.ndarray:
    """The ids of `n` rows as an int64 or object (str) array.

    `IdsError` unless there is one per row, all whole numbers or all strings, and none twice.
    """
    given = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    given = [id_.item() if isinstance(id_, np.generic) else id_ for id_ in given]
    if len(given) != n:
        raise IdsError(f"{len(given)} ids were given for {n} vectors; give one id per vector")
    kinds = {type(id_) for id_ in given}
    if not kinds <= {int} and not kinds <= {str}:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise IdsError(f"the ids are of type {names}; give whole numbers only, or strings only")
    _check_unique(given)
    if kinds == {str}:
        for id_ in given:
            _check_text(id_, "id", IdsError)
        array = np.empty(n, object)
        array[:] = given
        return array
    try:
        return np.array(given, np.int64)
    except OverflowError:
        raise IdsError("an id does not fit into 64 bits; use smaller numbers or strings") from None


def id_kind(ids: np.ndarray) -> str | None:
    """What the catalog calls the kind of these ids: "int", "str", or None where there are none."""
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
    """What a catalog stores with rows numbered from `first`; lengths are checked before."""
    said = repeat(None) if texts is None else texts
    known = repeat(None) if metadata is None else metadata
    for row, (id_, text, given) in enumerate(zip(ids.tolist(), said, known, strict=False)):
        if text is not None:
            _check_text(text, f"texts[{row}]")
        json_ = None if given is None else as_json(given, f"metadata[{row}]")
        yield first + row, id_, text, json_


def check_length(
    values: Sequence[Any] | np.ndarray | None, n: int, name: str, of: str = "vectors"
) -> None:
    """`InputError` unless there are none or `n` values."""
    if values is not None and len(values) != n:
        raise InputError(f"{len(values)} {name} were given for {n} {of}; give one for each")


def _check_text(text: Any, name: str, error: type[InputError] = InputError) -> None:
    try:
        text.encode()
    except (AttributeError, UnicodeEncodeError):
        raise error(f"{name} {text!r} is not text that UTF-8 can hold; leave it out") from None


def as_json(value: Mapping[str, Any], name: str) -> str:
    """The JSON text of an object; `InputError` when it is none."""
    try:
        return json.dumps(dict(value), allow_nan=False)  # SQLite takes NaN for damage
    except (TypeError, ValueError, RecursionError) as e:
        raise InputError(
            f"{name} is not a JSON object ({e}); use texts, numbers, lists and objects"
        ) from None
