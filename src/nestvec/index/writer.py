"""Changes to an index: new segment files, then one commit in the catalog.

Nothing is visible before the commit and everything is after it. Rows keep their numbers for ever;
a segment takes the place of others by holding their live rows in the same order.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.documents import Id
from nestvec.errors import DamagedIndexError, IdsError, NestvecError, StorageError
from nestvec.index.build.segment_builder import BuildOptions, write_segment
from nestvec.index.plans.default_recall import with_default_recall
from nestvec.index.plans.stored_plans import with_stored_plan
from nestvec.index.query_transform import save_transform
from nestvec.index.snapshot import CODED, FLAT, LiveSegment, Snapshot, pack_deleted
from nestvec.index.storage import catalog
from nestvec.index.storage.catalog import CatalogTransaction
from nestvec.index.storage.coded_segment import codes_name
from nestvec.index.storage.files import file_entry, sweep, sync_folder
from nestvec.index.storage.ids import Ids
from nestvec.index.storage.manifest import Manifest, RowRecord, SegmentEntry
from nestvec.index.storage.row_records import id_kind, row_records
from nestvec.index.storage.segment_rows import (
    RowSource,
    SegmentRows,
    copy_blocks,
    rows_writer,
    vectors_name,
)
from nestvec.index.storage.writer_lock import writer_lock
from nestvec.json_text import parse_json
from nestvec.plan import Plan
from nestvec.progress import Progress
from nestvec.shapes import Bool, Float

FLAT_ROWS = 4096
"""Fewer rows than this, when added, are stored without codes and searched by their vectors."""

_GROWTH = 2
"""An add takes in the segments before it that are at most this many times as large: so there are
never more than log2(n) segments, and a row is written log2(n) times on its way into the largest."""

SurvivingRows = tuple[LiveSegment, Bool[np.ndarray, " _"], int]
"""A segment, the mask of its rows that survive a change, and their number."""


def create(
    folder: Path,
    source: RowSource,
    records: Iterable[RowRecord],
    meta: Mapping[str, Any],
    options: BuildOptions,
    progress: Progress,
) -> None:
    """Write a new index of one coded segment into an empty folder, and the source's transform."""
    entry = write_entry(folder, 1, [source], options, progress)
    rows = source.rows
    ids = rows.ids[np.arange(len(rows))]
    adapted = save_transform(folder, source.transform)
    with catalog.create(folder) as transaction:
        content = transaction.store_rows(records)
        for file in entry.files:
            content = zlib.crc32(file.checksums, content)
        full = {
            **adapted, "generation": 1, "lineage": f"{content:08x}", "next_segment": 2,
            "next_row": len(rows), **meta,
        }  # fmt: skip
        added_ids = zip(ids.tolist(), rows.numbers.tolist(), strict=True)
        built = Snapshot.from_manifest(folder, Manifest(full, (entry,)))
        transaction.commit(with_default_recall(built), added=added_ids)
    sync_folder(folder)


@contextmanager
def open_writer(shown: Snapshot, purpose: str, progress: Progress) -> Iterator["Writer"]:
    """Lock the index at its last commit, and remove the files of a change that fails."""
    folder = shown.folder
    with (
        writer_lock(folder, purpose),
        _as_storage_errors(folder),
        catalog.write_transaction(folder) as transaction,
    ):
        _sweep(folder, transaction)
        try:
            yield Writer(Snapshot.load(folder, previous=shown), transaction, progress)
        finally:
            with suppress(NestvecError, OSError):  # else the next writer will
                _sweep(folder, transaction)


def _sweep(folder: Path, transaction: CatalogTransaction) -> None:
    manifest = transaction.read()
    sweep(folder, (file.name for entry in manifest.entries for file in entry.files))
    transaction.sweep(manifest.meta["next_row"])


@contextmanager
def _as_storage_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise StorageError(
            f"the index at {folder} was not changed ({e.strerror or e}); "
            "check disk space and permissions; nothing that was committed is lost"
        ) from e


@dataclass(frozen=True, eq=False)
class Writer:
    """A locked index with the generation that a change starts from."""

    snapshot: Snapshot
    transaction: CatalogTransaction
    progress: Progress

    @property
    def next_row(self) -> int:
        """The number of the next row that is added; `DamagedIndexError` if a row has it already."""
        number = int(self.snapshot.meta["next_row"])
        numbers = [part.rows.numbers for part in self.snapshot.parts if len(part.rows)]
        last = max((int(part[-1]) for part in numbers), default=-1)
        if number <= last:
            raise DamagedIndexError(
                f"the catalog in {self.snapshot.folder} says that row {number} is the next, and "
                f"row {last} is there; restore it or build the index again"
            )
        return number

    def add(
        self,
        ids: np.ndarray | None,
        vectors: Float[np.ndarray, "n dim"],
        texts: Sequence[str | None] | None,
        metadata: Sequence[Mapping[str, Any] | None] | None,
    ) -> None:
        """Commit new rows; without `ids`, the id of a row is its row number."""
        if ids is None:
            ids = np.arange(self.next_row, self.next_row + len(vectors))
        self._check_kind(ids)
        self._require_new(ids)
        self.replace(ids[:0], ids, vectors, (texts, metadata))

    def delete(self, ids: np.ndarray) -> None:
        """Commit the deletion of the rows with these ids."""
        self.replace(ids, ids[:0], np.empty((0, self.snapshot.dim), np.float32), (None, None))

    def update(
        self,
        ids: np.ndarray,
        vectors: Float[np.ndarray, "n dim"] | None,
        texts: Sequence[str | None] | None,
        metadata: Sequence[Mapping[str, Any] | None] | None,
        merge_metadata: bool = False,
    ) -> None:
        """Commit new rows in place of those with the same ids; what is None stays as it is.

        With `merge_metadata`, fields that are not replaced stay too.
        """
        rows = self._find(ids)
        is_complete = texts is not None and metadata is not None and not merge_metadata
        old = [] if is_complete else list(self.transaction.records(rows))
        old_texts = [text for _, _, text, _ in old]
        old_metadata = [None if json_ is None else parse_json(json_) for *_, json_ in old]
        if merge_metadata and metadata is not None:
            pairs = zip(old_metadata, metadata, strict=True)
            metadata = [{**(old or {}), **(new or {})} for old, new in pairs]
        documents = (
            old_texts if texts is None else texts,
            old_metadata if metadata is None else metadata,
        )
        stored = self.snapshot.vectors_of(rows) if vectors is None else vectors
        self.replace(ids, ids, stored, documents)

    def upsert(
        self,
        ids: np.ndarray,
        vectors: Float[np.ndarray, "n dim"],
        texts: Sequence[str | None] | None,
        metadata: Sequence[Mapping[str, Any] | None] | None,
    ) -> None:
        """Commit new rows, in place of those that have the same ids."""
        self._check_kind(ids)
        rows = self.transaction.rows_with_ids(ids.tolist())
        exists = np.array([row is not None for row in rows], bool)
        self.replace(ids[exists], ids, vectors, (texts, metadata))

    def compact(self) -> None:
        """Commit one coded segment of all live rows, and delete the records of other rows."""
        self.transaction.drop_tombstones()
        parts = self.snapshot.parts
        if not parts or [(p.entry.layout, p.live is None) for p in parts] == [(CODED, True)]:
            return
        sources = [RowSource(part.rows, part.live_mask) for part in parts]
        entries = [self._write(sources, coded=True)] if len(self.snapshot) else []
        manifest = self._next_generation(entries, self.next_row)
        compacted = Snapshot.from_manifest(self.snapshot.folder, manifest)
        self.transaction.commit(with_default_recall(compacted))

    def save_plan(
        self, k: int, plan: Plan, evidence: Mapping[str, Any], rows_checksum: int
    ) -> None:
        """Commit that `plan` was tuned to find `k` of the rows with this checksum."""
        if self.snapshot.manifest.rows_checksum() != rows_checksum:
            raise StorageError(
                f"the rows of {self.snapshot.folder} have changed since the plan was tuned, and "
                "what was shown no longer holds; tune again"
            )
        self.transaction.commit(with_stored_plan(self.snapshot.manifest, k, plan, evidence))

    def replace(
        self,
        deleted_ids: np.ndarray,
        added_ids: np.ndarray,
        vectors: Float[np.ndarray, "n dim"],
        documents: tuple[Sequence[str | None] | None, Sequence[Mapping[str, Any] | None] | None],
    ) -> None:
        """Commit the deletion of some rows and the addition of others, in one step."""
        surviving = self._surviving_rows(self._find(deleted_ids))
        first, count = self.next_row, len(added_ids)
        entries = [_entry(*part) for part in surviving]
        if count:
            self.transaction.store_rows(row_records(added_ids, first, *documents))
            rows = SegmentRows(np.arange(first, first + count), Ids.of(added_ids), vectors)
            entries = self._append_segment(surviving, RowSource(rows))
        if len(deleted_ids) or count:
            numbers = range(first, first + count)
            self._commit(
                entries, first + count, deleted_ids, zip(added_ids.tolist(), numbers, strict=True)
            )

    def _append_segment(
        self, surviving: list[SurvivingRows], source: RowSource
    ) -> list[SegmentEntry]:
        """List the surviving entries and a new segment, which takes in the last small ones."""
        total, sources = len(source), [source]
        while surviving and surviving[-1][2] <= _GROWTH * total:
            part, mask, count = surviving.pop()
            total += count
            sources.insert(0, RowSource(part.rows, mask))
        new = self._write(sources, coded=total >= FLAT_ROWS)
        return [*(_entry(*part) for part in surviving), new]

    def _surviving_rows(self, deleted_rows: Sequence[int]) -> list[SurvivingRows]:
        """List the segments that still have live rows once some rows are deleted, with masks."""
        surviving: list[SurvivingRows] = []
        for part in self.snapshot.parts:
            mask = ~np.isin(part.rows.numbers, deleted_rows)
            if part.live is not None:
                mask &= part.live.astype(bool)
            if count := int(mask.sum()):
                surviving.append((part, mask, count))
        return surviving

    def _write(self, sources: Sequence[RowSource], coded: bool) -> SegmentEntry:
        number = int(self.snapshot.meta["next_segment"])
        options = BuildOptions.of(self.snapshot.meta) if coded else None
        return write_entry(self.snapshot.folder, number, sources, options, self.progress)

    def _commit(
        self,
        entries: Sequence[SegmentEntry],
        next_row: int,
        deleted_ids: np.ndarray,
        added: Iterable[tuple[Id, int]],
    ) -> None:
        manifest = self._next_generation(entries, next_row)
        self.transaction.commit(manifest, deleted_ids.tolist(), added)

    def _next_generation(self, entries: Sequence[SegmentEntry], next_row: int) -> Manifest:
        meta = self.snapshot.meta
        last = max((entry.segment for entry in entries), default=0)
        return Manifest(
            {
                **meta,
                "generation": self.snapshot.generation + 1,
                "next_row": next_row,
                "next_segment": max(meta["next_segment"], last + 1),
            },
            tuple(entries),
        )

    def _find(self, ids: np.ndarray) -> list[int]:
        """Look up the row of each id; `IdsError` when one is missing."""
        rows = self.transaction.rows_with_ids(ids.tolist())
        missing = [id_ for id_, row in zip(ids.tolist(), rows, strict=True) if row is None]
        if missing:
            raise IdsError(
                f"id {missing[0]!r} is not in the index{_and_others('lacks', missing, ids)}; "
                "nothing was changed"
            )
        return [row for row in rows if row is not None]

    def _check_kind(self, ids: np.ndarray) -> None:
        """Raise `IdsError` when new ids are of another type than those of the index."""
        kind = self.snapshot.ids_kind
        if kind is not None and id_kind(ids) not in (kind, None):
            raise IdsError(f"the ids of this index are of type {kind}; give ids of that type")

    def _require_new(self, ids: np.ndarray) -> None:
        """Raise `IdsError` when a live row has one of the ids."""
        rows = self.transaction.rows_with_ids(ids.tolist())
        taken = [id_ for id_, row in zip(ids.tolist(), rows, strict=True) if row is not None]
        if taken:
            raise IdsError(
                f"id {taken[0]!r} is in the index{_and_others('has', taken, ids)}; use update to "
                "replace rows"
            )


def write_entry(
    folder: Path,
    number: int,
    sources: Sequence[RowSource],
    options: BuildOptions | None,
    progress: Progress,
) -> SegmentEntry:
    """Write the files of a segment, flat without `options`; they are on disk when this returns."""
    names = [vectors_name(number)]
    if options is None:
        with rows_writer(folder / names[0], sources) as stored:
            for _ in copy_blocks(sources, stored):
                pass
            del stored
    else:
        write_segment(folder, number, sources, options, progress)
        names.append(codes_name(number))
    files = tuple(file_entry(folder / name) for name in sorted(names))
    sync_folder(folder)
    layout = FLAT if options is None else CODED
    return SegmentEntry(number, layout, sum(map(len, sources)), None, files)


def _entry(part: LiveSegment, mask: Bool[np.ndarray, " n"], count: int) -> SegmentEntry:
    """Make the manifest entry of a segment in which the rows of `mask` alone are live."""
    return replace(part.entry, deleted=pack_deleted(mask))


def _and_others(verb: str, some: Sequence[Id], ids: np.ndarray) -> str:
    """Say how many of the ids a message is about; nothing where there is one id."""
    return f", which {verb} {len(some):,} of these {len(ids):,} ids" if len(ids) > 1 else ""
