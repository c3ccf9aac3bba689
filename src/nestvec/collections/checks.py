"""Checks of rows before their texts are encoded, which may take hours or cost money."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nestvec.errors import IdsError
from nestvec.index import Index
from nestvec.index.storage.row_records import check_ids, check_length, row_records

_MAX_LISTED = 5


def check_records(
    ids: Any, texts: Sequence[str], metadata: Sequence[Mapping[str, Any]] | None
) -> None:
    """Raise the error that an index would raise for these rows once it has their vectors."""
    n = len(texts)
    check_length(metadata, n, "metadata records", "texts")
    checked = np.arange(n) if ids is None else check_ids(ids, n)
    for _ in row_records(checked, 0, texts, metadata):
        pass


def check_new(index: Index, ids: Any) -> None:
    """Raise `IdsError` for ids that the index has already."""
    present, _ = _split_by_presence(index, ids)
    if present:
        raise IdsError(
            f"{_name_ids(present)} {_are(present)} in {index.path} already; leave those rows out, "
            "or update them"
        )


def check_present(index: Index, ids: Any) -> None:
    """Raise `IdsError` for ids that the index does not have."""
    _, missing = _split_by_presence(index, ids)
    if missing:
        raise IdsError(
            f"{_name_ids(missing)} {_are(missing)} not in {index.path}; leave those rows out, or "
            "add them"
        )


def _split_by_presence(index: Index, ids: Any) -> tuple[list[Any], list[Any]]:
    """Split ids into those that the index has and the others, by one read of the catalog."""
    values = check_ids(ids).tolist()
    rows = index.snapshot.rows_of(values)
    present = [id_ for id_, row in zip(values, rows, strict=True) if row is not None]
    return present, [id_ for id_, row in zip(values, rows, strict=True) if row is None]


def _name_ids(ids: Sequence[Any]) -> str:
    """Name the first few ids for a message, and count the others."""
    names = ", ".join(repr(id_) for id_ in ids[:_MAX_LISTED])
    n_others = len(ids) - _MAX_LISTED
    others = f" and {n_others:,} more" if n_others > 0 else ""
    return f"id {names}" if len(ids) == 1 else f"ids {names}{others}"


def _are(ids: Sequence[Any]) -> str:
    return "is" if len(ids) == 1 else "are"
