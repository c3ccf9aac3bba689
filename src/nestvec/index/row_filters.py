"""Apply filters to a snapshot: rows that do not match are treated as not live.

Neither the rows of a segment nor what is stored with them ever change: a mask, once made, holds in
every later generation. The latest filters' are kept, so that only a new filter costs a pass over
the catalog, about a microsecond a row (docs/explanation/decisions/0014).
"""

import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from nestvec.errors import StorageError
from nestvec.index.snapshot import LiveSegment, Snapshot
from nestvec.index.storage import catalog
from nestvec.shapes import Float32, Int64, UInt8

_MOST_KEPT = 8
"""Filters whose masks are kept in memory: a byte per row each."""

_Segment = tuple[str, int]
"""Lineage and number: what is in it never changes."""


@dataclass(frozen=True, eq=False, slots=True)
class _AllowedRows:
    """The rows of one segment that match a filter. It refers to no segment, whose files may go."""

    mask: UInt8[np.ndarray, " n"]
    """1 for each row of which the filter is true, live or not."""
    deleted: bytes | None
    """`Entry.deleted`, as it was when `live` and `count` were made."""
    live: UInt8[np.ndarray, " n"] | None
    count: int
    priors: Float32[np.ndarray, " lanes"] | None
    """Of the cells, so that none is probed in vain; None where all stay as they are."""

    @classmethod
    def of(cls, part: LiveSegment, mask: UInt8[np.ndarray, " n"]) -> "_AllowedRows":
        live = mask if part.live is None else mask & part.live
        count = int(np.count_nonzero(live))
        if count == len(live):
            return cls(mask, part.entry.deleted, None, count, None)
        priors = None if part.coded is None else part.coded.priors_for(live)
        return cls(mask, part.entry.deleted, live, count, priors)

    def within(self, part: LiveSegment) -> LiveSegment:
        coded = part.coded
        if coded is not None and self.priors is not None:
            coded = coded.with_priors(self.priors)
        return LiveSegment(part.entry, part.rows, coded, self.live, self.count)


class FilterCache:
    """Applies filters, and keeps the masks of those that were asked for last."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[_Segment, _AllowedRows]] = {}
        self._lock = threading.Lock()

    def apply(self, snapshot: Snapshot, where: str) -> Snapshot:
        """The snapshot with only those rows live that are and of which `where` is true.

        `FilterError` when it cannot be understood; `StorageError` when the catalog has forgotten
        rows of this generation.
        """
        parts = {(snapshot.manifest.lineage, part.entry.segment): part for part in snapshot.parts}
        with self._lock:
            cached = self._kept.get(where)
        if cached is None or not parts.keys() <= cached.keys():
            cached = _find(snapshot, parts, where, cached or {})
        allowed = {
            key: cached[key]
            if cached[key].deleted == part.entry.deleted
            else _AllowedRows.of(part, cached[key].mask)
            for key, part in parts.items()
        }
        self._keep(where, allowed)
        return replace(
            snapshot, parts=tuple(allowed[key].within(part) for key, part in parts.items())
        )

    def _keep(self, where: str, allowed: dict[_Segment, _AllowedRows]) -> None:
        """Store the masks of a filter as the most recent."""
        with self._lock:
            self._kept.pop(where, None)
            self._kept[where] = allowed
            while len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]


def _find(
    snapshot: Snapshot,
    parts: Mapping[_Segment, LiveSegment],
    where: str,
    cached: Mapping[_Segment, _AllowedRows],
) -> dict[_Segment, _AllowedRows]:
    """Take cached masks, and ask the catalog for those of the other segments."""
    # Late: those who filter nothing import nestvec a tenth faster.
    from nestvec.filters.parser import parse_where
    from nestvec.filters.sqlite import to_sql
    from nestvec.index.filter_fields import warn_of_unknown_fields

    condition = parse_where(where)
    sql = to_sql(condition)
    new = {key: part for key, part in parts.items() if key not in cached}
    masks = _masks(snapshot, list(new.values()), sql.text, sql.parameters)
    if not cached:
        with catalog.read_transaction(snapshot.folder) as db:
            warn_of_unknown_fields(db, condition, where)
    found_masks = zip(new.items(), masks, strict=True)
    return {**cached, **{key: _AllowedRows.of(part, mask) for (key, part), mask in found_masks}}


def _masks(
    snapshot: Snapshot, parts: list[LiveSegment], condition: str, parameters: tuple[object, ...]
) -> list[UInt8[np.ndarray, " n"]]:
    if not parts:
        return []
    folder = snapshot.folder
    with catalog.read_transaction(folder) as db:
        manifest = catalog.read_manifest(db, folder)
        if manifest.lineage != snapshot.manifest.lineage:
            raise StorageError(f"{folder} was replaced by another index; open it again")
        if manifest.generation != snapshot.generation:
            _check_known(db, snapshot, parts)
        return [_mask(part, _rows(db, part, condition, parameters)) for part in parts]


def _mask(part: LiveSegment, rows: Int64[np.ndarray, " m"]) -> UInt8[np.ndarray, " n"]:
    # A segment need not hold all rows between its first and last: some may have been deleted.
    return np.isin(part.rows.numbers, rows, assume_unique=True).astype(np.uint8)


def _check_known(db: sqlite3.Connection, snapshot: Snapshot, parts: list[LiveSegment]) -> None:
    for part in parts:
        numbers = part.rows.numbers
        live = numbers if part.live is None else numbers[part.live == 1]
        if not np.isin(live, _rows(db, part), assume_unique=True).all():
            raise StorageError(
                f"rows of {snapshot.folder} were deleted and compacted since this generation; "
                "use refresh() and search again"
            )


def _rows(
    db: sqlite3.Connection,
    part: LiveSegment,
    condition: str = "1",
    parameters: tuple[object, ...] = (),
) -> Int64[np.ndarray, " m"]:
    """Numbers of rows between the part's first and last of which the condition is true, rising."""
    if not len(part.rows):
        return np.empty(0, np.int64)
    first, last = part.rows.numbers[[0, -1]].tolist()
    query = f"SELECT row FROM rows WHERE row BETWEEN ? AND ? AND {condition}"
    matches = db.execute(query, (first, last, *parameters))
    return np.fromiter(chain.from_iterable(matches), np.int64)
