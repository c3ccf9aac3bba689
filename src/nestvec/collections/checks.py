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
    present = [id_ for id_ in check_ids(ids).tolist() if id_ in index]
    if present:
        raise IdsError(
            f"{_listed(present)} {_are(present)} in {index.path} already; leave those rows out, or "
            "update them"
        )


def check_present(index: Index, ids: Any) -> None:
    """Raise `IdsError` for ids that the index does not have."""
    missing = [id_ for id_ in check_ids(ids).tolist() if id_ not in index]
    if missing:
        raise IdsError(
            f"{_listed(missing)} {_are(missing)} not in {index.path}; leave those rows out, or add "
            "them"
        )


def _listed(ids: Sequence[Any]) -> str:
    names = ", ".join(repr(id_) for id_ in ids[:_MAX_LISTED])
    more = len(ids) - _MAX_LISTED
    return f"id {names}" if len(ids) == 1 else f"ids {names}" + (f" and {more} more" * (more > 0))


def _are(ids: Sequence[Any]) -> str:
    return "is" if len(ids) == 1 else "are"
