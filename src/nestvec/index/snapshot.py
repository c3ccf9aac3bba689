"""One generation of an index, mapped into memory: searches read it, and no write changes it."""

import logging
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.documents import Document, Id
from nestvec.errors import DamagedIndexError, InputError, PlanError
from nestvec.index.plans.default_plan import default_plan
from nestvec.index.plans.stored_plans import StoredPlan, stored_plans
from nestvec.index.query_transform import load_transform
from nestvec.index.storage import catalog, format_1
from nestvec.index.storage.coded_segment import Segment, codes_name
from nestvec.index.storage.files import check_file
from nestvec.index.storage.manifest import Manifest, SegmentEntry
from nestvec.index.storage.segment_rows import SegmentRows, vectors_name
from nestvec.plan import Plan
from nestvec.shapes import Bool, Float32, Int64, UInt8
from nestvec.transforms.base import Transform

CODED, FLAT = "coded", "flat"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LiveSegment:
    """A segment in one generation: rows, codes if it has some, and a mask of live rows."""

    entry: SegmentEntry
    rows: SegmentRows
    coded: Segment | None
    live: UInt8[np.ndarray, " n"] | None
    """1 for a live row, 0 for a deleted one, by local row; None when all are live."""
    count: int
    """Live rows."""

    @classmethod
    def from_mask(
        cls,
        entry: SegmentEntry,
        rows: SegmentRows,
        coded: Segment | None,
        live: UInt8[np.ndarray, " n"] | None,
    ) -> "LiveSegment":
        """Make the segment with the live rows of a mask, and count them."""
        count = len(rows) if live is None else int(np.count_nonzero(live))
        return cls(entry, rows, coded, live, count)

    @property
    def hot_bytes(self) -> int:
        """Bytes that searches read again and again."""
        return self.rows.vectors.nbytes if self.coded is None else self.coded.hot_bytes

    @property
    def live_mask(self) -> Bool[np.ndarray, " n"] | None:
        """`live` as a boolean mask, which indexes arrays; None when all rows are live."""
        return None if self.live is None else self.live.astype(bool)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One generation of an index: its segments, in order of insertion, and its transform."""

    folder: Path
    manifest: Manifest
    parts: tuple[LiveSegment, ...]
    transform: Transform | None
    """The transform that vectors and queries go through, or None."""

    @classmethod
    def load(
        cls, folder: Path, *, verify: bool = False, previous: "Snapshot | None" = None
    ) -> "Snapshot":
        """Map the last commit; segments that `previous` has mapped already are taken from it.

        A writer may commit, and remove files, between reading the catalog and mapping: then the
        catalog is read again.
        """
        manifest = catalog.load_manifest(folder)
        while True:
            try:
                mapped, transform = {}, None
                if previous is not None and previous.manifest.lineage == manifest.lineage:
                    mapped = {part.entry.segment: part for part in previous.parts}
                    transform = previous.transform
                transform = transform or load_transform(folder, manifest.meta)
                parts = [_part(folder, manifest, e, verify, mapped) for e in manifest.entries]
                problem = None
            except DamagedIndexError as e:
                problem = e
            latest = catalog.load_manifest(folder)
            moved = latest.lineage != manifest.lineage or latest.generation != manifest.generation
            if problem is not None and not moved:
                raise problem
            if problem is None and latest.lineage == manifest.lineage:
                break
            manifest = latest
        snapshot = cls(folder, manifest, tuple(parts), transform)
        if verify:
            _verify_catalog(snapshot)
        if any(part.entry.layout == format_1.LAYOUT for part in parts):
            _log.warning("%s has format 1: searches read all vectors until compact()", folder)
        return snapshot

    @classmethod
    def from_manifest(cls, folder: Path, manifest: Manifest) -> "Snapshot":
        """Map a generation whose files are written and that is not committed yet.

        It has no transform, because its vectors went through one already.
        """
        parts = [_part(folder, manifest, entry, False, {}) for entry in manifest.entries]
        return cls(folder, manifest, tuple(parts), None)

    def __len__(self) -> int:
        return self.count

    @cached_property
    def searched(self) -> Sequence[LiveSegment]:
        """The parts with live rows, or else the first part, which tells the type of ids."""
        return [part for part in self.parts if part.count] or self.parts[:1]

    @cached_property
    def count(self) -> int:
        """Live rows."""
        return sum(part.count for part in self.parts)

    @property
    def meta(self) -> Mapping[str, Any]:
        """The entries of the catalog about the whole index."""
        return self.manifest.meta

    @cached_property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.meta["dim"])

    @cached_property
    def metric(self) -> str:
        """The metric of scores: "ip", "cosine" or "euclidean"."""
        return str(self.meta["metric"])

    @cached_property
    def largest(self) -> Segment | None:
        """The coded segment with most live rows."""
        coded = [part for part in self.parts if part.coded is not None]
        largest = max(coded, key=lambda part: part.count, default=None)
        return None if largest is None else largest.coded

    @cached_property
    def chosen_plan(self) -> Callable[[str | Plan | None, int, bool], Plan]:
        """Function (plan, k, tuned) that resolves a plan: a `Plan`, its text, or None.

        For None it returns the default plan or, with `tuned`, the plan that was tuned for that `k`
        and these rows. `PlanError` for a text that is no plan, or a plan with fewer than `k`
        answers. The latest results are cached.
        """
        # A method whose answers are cached would keep each snapshot, and so its files, alive.
        tuned_plans = {k: stored.plan for k, stored in self.stored_plans.items() if stored.current}
        return lru_cache(maxsize=64)(partial(_resolve_plan, self.largest, self.dim, tuned_plans))

    @cached_property
    def stored_plans(self) -> Mapping[int, StoredPlan]:
        """The stored tuned plans by `k`, including those that were tuned for other rows."""
        return stored_plans(self.manifest)

    @property
    def generation(self) -> int:
        """The number of commits up to this state."""
        return self.manifest.generation

    def live_masks(self) -> list[UInt8[np.ndarray, " _"] | None]:
        """Return the mask of each part: 1 for a live row, 0 for a deleted one; None if all live."""
        return [part.live for part in self.parts]

    def numbers(self) -> Int64[np.ndarray, " n"]:
        """The numbers of all live rows, rising."""
        numbers = [_live(part, part.rows.numbers) for part in self.parts]
        return _concatenate(numbers, np.empty(0, int))

    def ids(self) -> np.ndarray:
        """The ids of all live rows."""
        ids = [part.rows.ids[np.arange(len(part.rows))] for part in self.parts]
        live = [_live(part, values) for part, values in zip(self.parts, ids, strict=True)]
        return _concatenate(live, np.empty(0, int))

    def vectors(self) -> Float32[np.ndarray, "n dim"]:
        """The vectors of all live rows: mapped while they are one whole segment, else copied."""
        live = [_live(part, part.rows.vectors) for part in self.parts]
        return _concatenate(live, np.empty((0, self.dim), np.float32))

    def iter_vectors(
        self, block_rows: int
    ) -> Iterator[tuple[np.ndarray, Float32[np.ndarray, "n dim"]]]:
        """Iterate ids and vectors of live rows, a block at a time."""
        for part in self.parts:
            mask = part.live_mask
            live = np.arange(len(part.rows)) if mask is None else np.flatnonzero(mask)
            for start in range(0, len(live), block_rows):
                rows = live[start : start + block_rows]
                yield part.rows.ids[rows], part.rows.vectors[rows]

    def vectors_of(self, numbers: Sequence[int]) -> Float32[np.ndarray, "n dim"]:
        """Look up the vectors of some live rows."""
        vectors = np.empty((len(numbers), self.dim), np.float32)
        for part in self.parts:
            mine = np.flatnonzero(np.isin(numbers, part.rows.numbers))
            places = np.searchsorted(part.rows.numbers, np.asarray(numbers)[mine])
            vectors[mine] = part.rows.vectors[places]
        return vectors

    def documents(self, rows: Sequence[int] | Int64[np.ndarray, " n"]) -> list[Document]:
        """Look up id, text and metadata of some live rows, in their order."""
        numbers = [int(row) for row in rows]
        self.require(numbers)
        return catalog.documents(self.folder, numbers, self.manifest)

    def rows_of(self, ids: Sequence[Id]) -> list[int | None]:
        """Look up the live row of each id, or None for an id that no live row has."""
        listed = catalog.rows_of(self.folder, ids, self.manifest)
        if listed is None:
            # The catalog is of a later generation: only the segments have the rows of this one.
            rows = dict(zip(self.ids().tolist(), self.numbers().tolist(), strict=True))
            return [rows.get(id_) for id_ in ids]
        if not all(row is None or self._has(row) for row in listed):
            raise DamagedIndexError(
                f"{self.folder / catalog.NAME} lists an id for a row that does not exist; "
                "restore it or build the index again"
            )
        return listed

    def _has(self, row: int) -> bool:
        return isinstance(row, int) and any(_holds(part, row) for part in self.parts)

    @property
    def ids_kind(self) -> str | None:
        """ "int" or "str", or None while there are no rows."""
        if not len(self):
            return None
        return "int" if self.parts[0].rows.ids.numbers is not None else "str"

    def require(self, numbers: Sequence[int]) -> None:
        """Raise `InputError` unless all are numbers of live rows."""
        for number in numbers:
            if not self._has(number):
                raise InputError(
                    f"the index has no row {number}; its {len(self)} rows are numbered in the "
                    f"order they were added, below {self.meta['next_row']}"
                )


def pack_deleted(live: Bool[np.ndarray, " n"]) -> bytes | None:
    """Compress a mask of live rows to the form of `SegmentEntry.deleted`; None if all are live."""
    return None if live.all() else zlib.compress(np.packbits(~live).tobytes(), 1)


def _unpack_deleted(packed: bytes | None, rows: int) -> UInt8[np.ndarray, " n"] | None:
    if packed is None:
        return None
    bits = np.frombuffer(zlib.decompress(packed), np.uint8)
    if len(bits) != -(-rows // 8):
        raise ValueError("its mask of deleted rows has another length than the segment")
    return 1 - np.unpackbits(bits, count=rows)


def _part(
    folder: Path,
    manifest: Manifest,
    entry: SegmentEntry,
    verify: bool,
    mapped: Mapping[int, LiveSegment],
) -> LiveSegment:
    try:
        live = _unpack_deleted(entry.deleted, entry.rows)
    except (ValueError, zlib.error) as e:
        raise DamagedIndexError(f"{folder / catalog.NAME} is damaged ({e}); restore it") from None
    if entry.segment in mapped:
        part = mapped[entry.segment]
        return LiveSegment.from_mask(entry, part.rows, part.coded, live)
    for file in entry.files:
        check_file(folder, file, whole=verify)
    if entry.layout == format_1.LAYOUT:
        rows = format_1.open_rows(folder)
    else:
        rows = SegmentRows.open(folder / vectors_name(entry.segment))
    if rows.vectors.shape != (entry.rows, manifest.meta["dim"]):
        raise DamagedIndexError(
            f"{folder} holds {rows.vectors.shape} vectors, which is not what its catalog "
            "says; restore it or build the index again"
        )
    coded = None
    if entry.layout == CODED:
        coded = Segment.open(folder / codes_name(entry.segment), rows.vectors)
    return LiveSegment.from_mask(entry, rows, coded, live)


def _verify_catalog(snapshot: Snapshot) -> None:
    """Check that all rows of the catalog are as written, and that its ids are the segments'."""
    catalog.verify(snapshot.folder)
    ids, numbers = snapshot.ids().tolist(), snapshot.numbers().tolist()
    listed = catalog.live_rows(snapshot.folder, snapshot.manifest)
    if listed is not None and listed != list(zip(ids, numbers, strict=True)):
        raise DamagedIndexError(
            f"{snapshot.folder / catalog.NAME} lists other ids than its segments hold; "
            "restore it or build the index again"
        )


def _resolve_plan(
    largest: Segment | None,
    dim: int,
    tuned_plans: Mapping[int, Plan],
    plan: str | Plan | None,
    k: int,
    tuned: bool,
) -> Plan:
    if plan is None:
        return tuned_plans[k] if tuned and k in tuned_plans else default_plan(largest, k)
    parsed = Plan.parse(plan) if isinstance(plan, str) else plan
    if not isinstance(parsed, Plan):
        raise PlanError(f"{plan!r} is no plan; pass a Plan, or a text such as 'probe=32; full'")
    parsed.check(dim, k)
    return parsed


def _live(part: LiveSegment, values: np.ndarray) -> np.ndarray:
    mask = part.live_mask
    return values if mask is None else values[mask]


def _concatenate(arrays: list[np.ndarray], empty: np.ndarray) -> np.ndarray:
    """Concatenate arrays; a single one is not copied, and `empty` gives the dtype of none."""
    return arrays[0] if len(arrays) == 1 else np.concatenate([empty[:0], *arrays])


def _holds(part: LiveSegment, number: int) -> bool:
    numbers = part.rows.numbers
    if not len(numbers) or not numbers[0] <= number <= numbers[-1]:
        return False
    place = int(np.searchsorted(numbers, number))
    return bool(numbers[place] == number) and (part.live is None or bool(part.live[place]))
