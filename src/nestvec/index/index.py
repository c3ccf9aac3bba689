"""`Index`: build, open, search and change."""

import json
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import index as index_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.documents import Document, Id
from nestvec.errors import InputError, PlanError
from nestvec.hits import Hits
from nestvec.index.document_lookup import get_documents, has_id
from nestvec.index.plans.stored_plans import StoredPlan
from nestvec.index.query_transform import transform_queries
from nestvec.index.search.searcher import (
    SearchRequest,
    search_exact,
    search_segments,
    search_with_certificates,
)
from nestvec.index.search.segment_search import METRICS, check_threads
from nestvec.index.snapshot import Snapshot
from nestvec.index.storage.ids import Ids
from nestvec.index.storage.row_records import as_json, check_ids, check_length, row_records
from nestvec.index.storage.segment_rows import RowSource, SegmentRows
from nestvec.plan import Plan
from nestvec.progress import Progress, silent
from nestvec.shapes import Float, Float32
from nestvec.transforms.base import Transform, check_same_model
from nestvec.vectors import check_vectors

if TYPE_CHECKING:
    from nestvec.index.build.segment_builder import BuildOptions
    from nestvec.index.writer import Writer

# What writes, and what understands filters, is imported where it is used: `import nestvec` is fast.

_ROTATIONS = ("pca", "none")
AnyIds = Id | np.integer[Any] | Iterable[Any]
"""One id, or a list, tuple, iterator, array or column of ids."""


class Index:
    """Vectors in cells, coded by bit planes, with what is needed to search them by a `Plan`.

    An open index shows one
    generation of what is stored, in all its threads, until it writes or is told to `refresh`. Any
    number of threads and processes may search while one of them writes.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._moving = threading.Lock()
        from nestvec.index.row_filters import FilterCache

        self._filters = FilterCache()

    @classmethod
    def build(  # noqa: PLR0913  one call says all about an index
        cls,
        vectors: ArrayLike,
        path: str | os.PathLike[str],
        *,
        ids: AnyIds | None = None,
        texts: Sequence[str | None] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        metric: str = "ip",
        adapter: Transform | None = None,
        rotation: str = "pca",
        bits: float = 2.0,
        seed: int = 0,
        model: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        progress: Progress = silent,
    ) -> "Index":
        """Write an index of `vectors` [n, dim] (any float dtype, stored as float32) and open it.

        `vectors` may be a memory map larger than memory. `ids` are unique ints or strings
        (None: 0..n−1); `texts` and `metadata` (JSON objects) are stored beside them. Scores are in
        `metric`: "ip" (inner product), "cosine" or "euclidean" (−|q − x|²). What goes through an
        `adapter` is what it makes of the vectors; it is kept, and later vectors and queries go
        through it too. `rotation` is "pca", or "none" for models and adaptors trained nested whose
        own order is to be kept. `bits` is the average number
        of code bits per dimension. `model` records what made the vectors. Equal input and seed give
        an equal index. The folder `path` appears whole or not at all; with `overwrite` it takes the
        place of an index, which nobody can write to in the meantime. A folder that is no index, or
        holds other files too, is refused (`StorageError`). A link at `path` is followed and stays.
        """
        from nestvec.index.storage.staging import staging
        from nestvec.index.storage.target import check_target
        from nestvec.index.writer import create

        array = check_vectors(vectors, dim=None if adapter is None else adapter.dim)
        if adapter is not None:
            check_same_model(adapter, array)
        checked_ids = np.arange(len(array)) if ids is None else check_ids(ids, len(array))
        check_length(texts, len(array), "texts")
        check_length(metadata, len(array), "metadata records")
        made_by = json.loads(as_json(model, "model")) if model else None
        options = _check_options(rotation, bits, seed, metric)
        target = check_target(Path(path), overwrite)
        rows = SegmentRows(np.arange(len(array)), Ids.of(checked_ids), array)
        source = RowSource(rows, adapter=adapter)
        meta = {
            "dim": source.dim, "metric": metric, "rotation": rotation,
            "bits": options.bits, "seed": options.seed, "model": made_by,
        }  # fmt: skip
        with staging(target, overwrite) as stage:
            records = row_records(checked_ids, 0, texts, metadata)
            create(stage, source, records, meta, options, progress)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: bool = False) -> "Index":
        """Map a stored index, in milliseconds; with `verify` every byte of its files is checked.

        Always checked: the size of every file and the checksums of all that searches depend on but
        bulk: a flipped bit in a code or a stored vector is found by `verify` alone. Texts and
        metadata are checked when they are read.
        """
        return cls(Snapshot.load(Path(path), verify=verify))

    # --- what it holds ---------------------------------------------------------------------------

    def __len__(self) -> int:
        """The number of live rows."""
        return len(self._snapshot)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._snapshot.folder

    @property
    def snapshot(self) -> Snapshot:
        """The generation that is shown, with its segments."""
        return self._snapshot

    @property
    def generation(self) -> int:
        """How many commits led to what is shown; a build is the first."""
        return self._snapshot.generation

    @property
    def meta(self) -> Mapping[str, Any]:
        """What the catalog says of the whole index."""
        return self._snapshot.meta

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self._snapshot.dim

    @property
    def adapter(self) -> Transform | None:
        """What the vectors went through before they were stored, and queries go through."""
        return self._snapshot.adapter

    def adapt(
        self, queries: ArrayLike, adapted_by: str | None = None
    ) -> Float32[np.ndarray, "q dim"]:
        """Queries as the stored vectors are compared with them: through the adapter, if any.

        `adapted_by` is the fingerprint of the adapter that they went through already; those of
        another one, or of another width than the model's, are refused.
        """
        snapshot = self._snapshot
        return transform_queries(snapshot.adapter, snapshot.meta, queries, adapted_by)

    @property
    def metric(self) -> str:
        """What scores are: "ip", "cosine" or "euclidean"."""
        return self._snapshot.metric

    @property
    def hot_bytes(self) -> int:
        """Bytes that searches read again and again: codes, cells, and vectors without codes."""
        return sum(part.hot_bytes for part in self._snapshot.parts)

    @property
    def vectors(self) -> Float32[np.ndarray, "n dim"]:
        """The vectors of live rows, as the adapter made them, in the order they were added.

        Without an adapter they are as they were given.

        Memory-mapped while they are one segment without deleted rows, else copied.
        """
        return self._snapshot.vectors()

    @property
    def ids(self) -> np.ndarray:
        """The ids of live rows, in the order they were added."""
        return self._snapshot.ids()

    def get(self, ids: AnyIds) -> list[Document | None]:
        """The documents with these ids, in their order: `index.get(hits.ids[0])`.

        `ids` is one id, or any collection of ids, which may repeat. Where an answer of a search is
        padded (id −1 or None) the document is None. `IdsError` names ids that no row has.
        """
        return get_documents(self._snapshot, ids)

    def __contains__(self, id_: object) -> bool:
        """Whether a row has this id."""
        return has_id(self._snapshot, id_)

    def documents(self, rows: Sequence[Any] | np.ndarray) -> list[Document]:
        """Documents by row number. Deprecated: ids that are numbers look the same; use `get`."""
        warnings.warn(
            "Index.documents takes row numbers, which ids that are numbers cannot be told from; "
            "use Index.get(hits.ids[0])",
            DeprecationWarning,
            stacklevel=2,
        )
        try:
            numbers = [index_of(row) for row in rows]
        except TypeError:
            raise InputError(
                "documents takes the numbers of rows, which are whole; for ids use get"
            ) from None
        return self._snapshot.documents(numbers)

    # --- searching -------------------------------------------------------------------------------

    def default_plan(self, k: int = 10) -> Plan:
        """The plan that `search` uses when none is given, without a filter and not `exact`.

        The one that was tuned for this `k` (`nv.tune`) while the rows are still those that it was
        tuned for; else by a rule.
        """
        return self._snapshot.chosen_plan(None, int(k), True)

    @property
    def tuned(self) -> Mapping[int, StoredPlan]:
        """The tuned plans that are kept, by `k`, also those that were tuned for other rows."""
        return self._snapshot.tuned

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        plan: str | Plan | None = None,
        where: str | None = None,
        exact: bool = False,
        certify: bool = False,
        threads: int | None = None,
        adapted_by: str | None = None,
    ) -> Hits:
        """The `k` rows with the best scores for each query [q, dim], found by `plan`.

        With `exact` they are proven to be the exact top k: those that float64 arithmetic on the
        stored float32 vectors gives, equal scores to the smaller row
        (docs/explanation/certificates.md). The plan then is where the search starts. With `certify`
        the plan's answer stays, and `hits.certified` says of each query whether it is proven to be
        the exact one.

        With `where`, a filter such as "year >= 2015" (docs/reference/filters.md), only among rows
        of which it is true; where fewer than `k` are found, the rest is row −1 with score −∞, id −1
        or None.

        Queries go through the index's adapter, unless `adapted_by` is its fingerprint: `adapt`.

        The best cells are probed; while they hold fewer than `k` rows that are live and allowed,
        more are.
        Rows that were added and not yet coded are scored on their full vectors whatever the plan.
        Batches are shared out over `threads` (None: all cores); the answer does not depend on it.
        """
        snapshot = self._snapshot
        array = transform_queries(snapshot.adapter, snapshot.meta, queries, adapted_by)
        _check_k(k, snapshot.count)
        chosen = snapshot.chosen_plan(plan, int(k), where is None and not exact)
        if (exact or certify) and not chosen.full:
            raise PlanError(
                f"plan '{chosen}' ends in estimates, which prove nothing; end it with '> full'"
            )
        check_threads(threads)
        if where is not None:
            snapshot = self._filters.apply(snapshot, where)
        request = SearchRequest(array, int(k), chosen, threads, snapshot.metric)
        if exact:
            return search_exact(snapshot, request)
        return (
            search_with_certificates(snapshot, request)
            if certify
            else search_segments(snapshot, request)
        )

    # --- changing --------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Show the newest generation; whether there was a newer one."""
        before = self._snapshot
        self._show(Snapshot.load(self.path, previous=before))
        return self._snapshot is not before

    def add(
        self,
        vectors: ArrayLike,
        *,
        ids: AnyIds | None = None,
        texts: Sequence[str | None] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Add rows, all or none, and show them; ids must be new (None: the row numbers).

        Small additions stay without codes until later ones, or `compact`, merge them into larger
        segments. `LockedError` while another writes, here and in all that follow.
        """
        array = self._adapted(vectors)
        check_length(texts, len(array), "texts")
        check_length(metadata, len(array), "metadata records")
        checked = None if ids is None else check_ids(ids, len(array))
        with self._writing("add", progress) as writer:
            writer.add(checked, array, texts, metadata)

    def delete(self, ids: AnyIds) -> None:
        """Delete the rows with these ids, all or, if one is not there (`IdsError`), none.

        `ids` is one id, or any collection of ids.
        """
        checked = check_ids(ids, ordered=False)
        with self._writing("delete", silent) as writer:
            writer.delete(checked)

    def update(
        self,
        vectors: ArrayLike | None = None,
        *,
        ids: AnyIds,
        texts: Sequence[str | None] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Replace the rows with these ids in one step; what is None stays as it was.

        `ids` is one id, or a collection in the order of the values. The new rows have new row
        numbers, the last ones. All or, if an id is not there, none.
        """
        checked = check_ids(ids)
        array = None if vectors is None else self._adapted(vectors)
        for given, name in ((array, "vectors"), (texts, "texts"), (metadata, "metadata records")):
            check_length(given, len(checked), name, "ids")
        with self._writing("update", progress) as writer:
            writer.update(checked, array, texts, metadata)

    def compact(self, *, progress: Progress = silent) -> None:
        """Make one coded segment of all live rows; what was deleted is gone for good."""
        with self._writing("compact", progress) as writer:
            writer.compact()

    def keep_plan(
        self, k: int, plan: Plan, evidence: Mapping[str, Any], rows_checksum: int
    ) -> None:
        """Search for `k` rows by a tuned plan from now on, while no rows come or go.

        `evidence` (JSON values) says why it is safe, for rows with this checksum
        (`snapshot.contents.rows_checksum()`); `StorageError` if they have changed since.
        """
        with self._writing("keep a tuned plan", silent) as writer:
            writer.keep_plan(k, plan, evidence, rows_checksum)

    def _adapted(self, vectors: ArrayLike) -> Float[np.ndarray, "n dim"]:
        """New vectors as they are stored."""
        adapter = self.adapter
        if adapter is None:
            return check_vectors(vectors, dim=self.dim)
        array = check_vectors(vectors, dim=adapter.dim)
        check_same_model(adapter, array)
        return adapter.transform(array)

    @contextmanager
    def _writing(self, purpose: str, progress: Progress) -> Iterator["Writer"]:
        from nestvec.index.writer import open_writer

        with open_writer(self._snapshot, purpose, progress) as writer:
            yield writer
        self.refresh()

    def _show(self, snapshot: Snapshot) -> None:
        """Never step back: another thread may have loaded a newer generation in the meantime."""
        with self._moving:
            shown = self._snapshot.contents
            same = shown.lineage == snapshot.contents.lineage
            if not same or shown.generation < snapshot.generation:
                self._snapshot = snapshot


def _check_k(k: int, rows: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= rows:
        raise InputError(f"k={k!r} is not a whole number from 1 to the index's {rows} rows")


def _check_options(rotation: str, bits: float, seed: int, metric: str) -> "BuildOptions":
    from nestvec.index.build.segment_builder import BuildOptions

    if metric not in METRICS:
        raise InputError(f"metric={metric!r} is not known; use one of {', '.join(METRICS)}")
    if rotation not in _ROTATIONS:
        raise InputError(f"rotation={rotation!r} is not known; use one of {', '.join(_ROTATIONS)}")
    if not 0 < bits <= 8:
        raise InputError(f"bits={bits!r} is out of range; use more than 0 and at most 8")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed={seed!r} is not a whole number of at least 0")
    return BuildOptions(rotation, float(bits), int(seed), metric)
