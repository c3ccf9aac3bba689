"""Filters on a snapshot: rows that do not match are treated as not live.

The rows of a segment never change, and neither do their ids, texts and metadata. A mask of the rows
that match is therefore valid in every later generation. The masks of the latest filters are cached,
so that only a new filter reads the catalog, at about a microsecond per row
(docs/explanation/decisions/0014).
"""

import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from nestvec.errors import StorageError
from nestvec.filters.parser import parse_where
from nestvec.index.snapshot import LiveSegment, Snapshot
from nestvec.index.storage import catalog
from nestvec.shapes import Float32, Int64, UInt8

_MAX_CACHED_FILTERS = 8
"""Filters whose masks stay in memory; each takes one byte per row."""

_SegmentKey = tuple[str, int]
"""Lineage of the index and number of the segment, which name content that never changes."""


@dataclass(frozen=True, eq=False, slots=True)
class _AllowedRows:
    """The rows of one segment that match a filter.

    There is no reference to the segment, so that its files can be removed.
    """

    mask: UInt8[np.ndarray, " n"]
    """1 for each row that matches, whether live or deleted."""
    deleted: bytes | None
    """`SegmentEntry.deleted` at the time when `live` and `count` were computed."""
    live: UInt8[np.ndarray, " n"] | None
    """1 for each live row that matches; None when all rows do."""
    count: int
    """Number of live rows that match."""
    priors: Float32[np.ndarray, " lanes"] | None
    """Priors that rank cells without such rows last; None when the segment's own stay in use."""

    @classmethod
    def from_mask(cls, part: LiveSegment, mask: UInt8[np.ndarray, " n"]) -> "_AllowedRows":
        live = mask if part.live is None else mask & part.live
        count = int(np.count_nonzero(live))
        if count == len(live):
            return cls(mask, part.entry.deleted, None, count, None)
        priors = None if part.coded is None else part.coded.priors_for(live)
        return cls(mask, part.entry.deleted, live, count, priors)

    def restrict(self, part: LiveSegment) -> LiveSegment:
        coded = part.coded
        if coded is not None and self.priors is not None:
            coded = coded.with_priors(self.priors)
        return LiveSegment(part.entry, part.rows, coded, self.live, self.count)


class FilterCache:
    """Filters of an index, with a cache of the masks of the latest ones."""

    def __init__(self) -> None:
        self._cache: dict[str, dict[_SegmentKey, _AllowedRows]] = {}
        self._lock = threading.Lock()

    def apply(self, snapshot: Snapshot, where: str) -> Snapshot:
        """Return the snapshot in which only those live rows that match `where` are live.

        `FilterError` when `where` cannot be parsed; `StorageError` when rows of this generation are
        no longer in the catalog, because they were deleted and compacted since.
        """
        if not isinstance(where, str):
            parse_where(where)  # says what a filter is
        parts = {(snapshot.manifest.lineage, part.entry.segment): part for part in snapshot.parts}
        with self._lock:
            cached = self._cache.get(where)
        if cached is None or not parts.keys() <= cached.keys():
            cached = _complete(snapshot, parts, where, cached or {})
        allowed = {
            key: cached[key]
            if cached[key].deleted == part.entry.deleted
            else _AllowedRows.from_mask(part, cached[key].mask)
            for key, part in parts.items()
        }
        self._store(where, allowed)
        return replace(
            snapshot, parts=tuple(allowed[key].restrict(part) for key, part in parts.items())
        )

    def _store(self, where: str, allowed: dict[_SegmentKey, _AllowedRows]) -> None:
        """Cache the masks of a filter as the latest, and drop those of the oldest."""
        with self._lock:
            self._cache.pop(where, None)
            self._cache[where] = allowed
            while len(self._cache) > _MAX_CACHED_FILTERS:
                del self._cache[next(iter(self._cache))]


def _complete(
    snapshot: Snapshot,
    parts: Mapping[_SegmentKey, LiveSegment],
    where: str,
    cached: Mapping[_SegmentKey, _AllowedRows],
) -> dict[_SegmentKey, _AllowedRows]:
    """Complete the cached masks with those of the other segments, by a query to the catalog."""
    # Imported here, because without the parser `import nestvec` is a tenth faster.
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
    new_rows = {
        key: _AllowedRows.from_mask(part, mask)
        for (key, part), mask in zip(new.items(), masks, strict=True)
    }
    return {**cached, **new_rows}


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
    # Numbers between the first and the last row of a segment may be missing: deleted rows are gone.
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
    """Query the numbers, rising, of rows from the segment's first to its last that match."""
    if not len(part.rows):
        return np.empty(0, np.int64)
    first, last = part.rows.numbers[[0, -1]].tolist()
    query = f"SELECT row FROM rows WHERE row BETWEEN ? AND ? AND {condition}"
    matches = db.execute(query, (first, last, *parameters))
    return np.fromiter(chain.from_iterable(matches), np.int64)
