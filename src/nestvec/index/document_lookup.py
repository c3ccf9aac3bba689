"""Look-up of documents by id, in the generation that a snapshot shows."""

from collections.abc import Mapping
from typing import Any

from nestvec.documents import Document, Id
from nestvec.errors import DamagedIndexError, IdsError
from nestvec.index.snapshot import Snapshot
from nestvec.index.storage.row_records import id_array, list_ids

_MOST_NAMED = 3
"""Unknown ids that an error lists: enough to recognise what was passed."""


def get_documents(snapshot: Snapshot, ids: Any) -> list[Document | None]:
    """Documents by id, in the order of `ids`; None where `ids` has a search's padding.

    Padding is None, or −1 where no row has that id. `IdsError` for ids that are in no live row.
    """
    values = list_ids(ids, ordered=False)
    known_rows = [value for value in values if value is not None]
    rows = dict(zip(known_rows, snapshot.rows_of(id_array(known_rows).tolist()), strict=True))
    if rows.get(-1, 0) is None and snapshot.ids_kind != "str":
        del rows[-1]
    _require_known(snapshot, rows)
    documents = dict(zip(rows, snapshot.documents(list(rows.values())), strict=True))
    if any(document.id != id_ for id_, document in documents.items()):
        raise DamagedIndexError(
            f"the catalog in {snapshot.folder} lists an id for the row of another; "
            "restore it or build the index again"
        )
    return [documents.get(value) for value in values]


def has_id(snapshot: Snapshot, id_: Any) -> bool:
    """Tell whether a live row has this id; no row has a value that cannot be an id."""
    try:
        (ids,) = id_array(list_ids(id_)).tolist()
    except (IdsError, ValueError):  # or it holds several
        return False
    return snapshot.rows_of([ids]) != [None]


def _require_known(snapshot: Snapshot, rows: Mapping[Id, int | None]) -> None:
    unknown = [id_ for id_, row in rows.items() if row is None]
    if not unknown:
        return
    named = ", ".join(map(repr, unknown[:_MOST_NAMED]))
    n_more = f" and {len(unknown) - _MOST_NAMED:,} more" if len(unknown) > _MOST_NAMED else ""
    raise IdsError(
        f"no row of the index has the id {named}{n_more}; its ids are of type {snapshot.ids_kind}, "
        "and `id in index` tells whether it has one"
    )
