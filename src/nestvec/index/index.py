"""`Index`: build, open, search and change an embedded index."""

import json
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from operator import index as index_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import Unpack

from nestvec.deprecation import renamed_arguments, warn_renamed
from nestvec.documents import Document, Id
from nestvec.errors import InputError
from nestvec.hits import Hits
from nestvec.index.document_lookup import get_documents, has_id
from nestvec.index.options import IndexOptions, checked
from nestvec.index.plans.default_recall import DefaultRecall, stored_default_recall
from nestvec.index.plans.resolution import check_k, resolve_plan
from nestvec.index.plans.stored_plans import StoredPlan
from nestvec.index.query_transform import transform_queries
from nestvec.index.search.searcher import (
    SearchRequest,
    no_hits,
    search_exact,
    search_segments,
    search_with_certificates,
)
from nestvec.index.snapshot import Snapshot
from nestvec.index.storage.ids import Ids
from nestvec.index.storage.row_records import as_json, check_ids, check_length, row_records
from nestvec.index.storage.segment_rows import RowSource, SegmentRows
from nestvec.parallel import check_threads
from nestvec.plan import Plan
from nestvec.plurals import count_of
from nestvec.progress import Progress, silent
from nestvec.shapes import Float, Float32
from nestvec.transforms.base import Transform, check_same_model
from nestvec.vectors import check_vectors

if TYPE_CHECKING:
    from nestvec.index.writer import Writer

# What writes, and what understands filters, is imported where it is used: `import nestvec` is fast.

AnyIds = Id | np.integer[Any] | Iterable[Any]
"""One id, or a list, tuple, iterator, array or column of ids."""


class Index:
    """Vectors in cells, coded by bit planes, with ids, texts and metadata, searched by a `Plan`.

    An open index shows one generation of what is stored, in all its threads, until it writes or
    `refresh` is called. Any number of threads and processes may search while one of them writes.
    An index pickles as its path, and is opened again where it is unpickled.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._shown: Snapshot | None = snapshot
        self._path = snapshot.folder
        self._showing = threading.Lock()
        from nestvec.index.row_filters import FilterCache

        self._filters = FilterCache()

    @classmethod
    @renamed_arguments({"adapter": "transform"})
    def build(  # noqa: PLR0913  one call says all about an index
        cls,
        vectors: ArrayLike,
        path: str | os.PathLike[str],
        *,
        ids: AnyIds | None = None,
        texts: Sequence[str | None] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        transform: Transform | None = None,
        model: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        progress: Progress = silent,
        **options: Unpack[IndexOptions],
    ) -> "Index":
        """Write an index of `vectors` [n, dim] to the folder `path`, and open it.

        `vectors` are of any float dtype and stored as float32; a memory map may be larger than
        memory. `ids` are unique ints or texts (None: 0 … n − 1); `texts` and `metadata` (one JSON
        object per row) are stored beside them. A fitted `transform` is stored with the index: these
        vectors, later ones and all queries go through it. `model` is a record of the encoder of the
        vectors. The `options` are those of `IndexOptions`: metric, rotation, bits, seed and
        columns.

        The folder appears whole or not at all. With `overwrite` it takes the place of an index,
        which nobody can write to in the meantime; a folder that is no index, or that holds other
        files too, is refused (`StorageError`). A link at `path` is followed and stays.
        """
        from nestvec.index.build.segment_builder import BuildOptions
        from nestvec.index.storage.staging import staging
        from nestvec.index.storage.target import check_target
        from nestvec.index.writer import create

        array = check_vectors(vectors, dim=None if transform is None else transform.dim)
        if transform is not None:
            check_same_model(transform, array)
        checked_ids = np.arange(len(array)) if ids is None else check_ids(ids, len(array))
        check_length(texts, len(array), "texts")
        check_length(metadata, len(array), "metadata records")
        record = json.loads(as_json(model, "model")) if model else None
        settings = checked(options)
        columns = settings.pop("columns", None)
        target = check_target(absolute(path), overwrite)
        rows = SegmentRows(np.arange(len(array)), Ids.of(checked_ids), array)
        source = RowSource(rows, transform=transform)
        meta = {"dim": source.dim, **settings, "model": record}
        if columns is not None:
            meta["columns"] = columns
        with staging(target, overwrite) as stage:
            records = row_records(checked_ids, 0, texts, metadata)
            create(stage, source, records, meta, BuildOptions.of(settings), progress)
        return cls.open(path)

    @classmethod
    def from_table(
        cls,
        table: Any,
        path: str | os.PathLike[str],
        *,
        vector_column: str | None = None,
        id_column: str | None = None,
        text_column: str | None = None,
        metadata_columns: Sequence[str] | None = None,
        **options: Any,
    ) -> "Index":
        """Build an index of a pandas, Polars or Arrow table, a data set of Hugging Face, or a file.

        Files are .parquet, Arrow and Lance files, and folders of them; `table` is the path then.

        Columns that are not named: the one column of equally long lists of numbers holds the
        vectors, "id", "_id" or "doc_id" the ids, "text" the texts, and all others are metadata.
        The log (level INFO) says which became what. The `options` are those of `build`.
        """
        from nestvec.index.table_columns import read_table

        rows = read_table(table, vector_column, id_column, text_column, metadata_columns)
        return cls.build(
            rows.vectors,
            path,
            ids=rows.ids,
            texts=rows.texts,
            metadata=rows.metadata,
            columns=rows.columns,
            **options,
        )

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: bool = False) -> "Index":
        """Map a stored index, in milliseconds; with `verify` every byte of its files is checked.

        Without it, the sizes of all files and the checksums of all that searches depend on are
        checked, except for bulk data: only `verify` detects a flipped bit in a code or a stored
        vector. Texts and metadata are checked when they are read.
        """
        return cls(Snapshot.load(absolute(path), verify=verify))

    def close(self) -> None:
        """Release the files; any later use of the index is an `InputError`."""
        self._shown = None

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _snapshot(self) -> Snapshot:
        shown = self._shown
        if shown is None:
            raise InputError(f"the index at {self._path} is closed; open it again")
        return shown

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the path: a copy opens the newest generation there."""
        return Index.open, (self.path,)

    @property
    def version(self) -> str:
        """Text that another state of the index, or another index, does not share."""
        manifest = self._snapshot.manifest
        return f"{manifest.lineage}:{manifest.generation}"

    def __repr__(self) -> str:
        if self._shown is None:
            return f"<Index: closed, at {self._path}>"
        return (
            f"<Index: {count_of(len(self), 'row')} × {self.dim} dims, {self.metric}, "
            f"generation {self.generation}, at {self.path}>"
        )

    def _repr_html_(self) -> str:
        """Show the index as a small table in a notebook."""
        facts = {
            "path": self.path,
            "rows": f"{len(self):,}",
            "dims": self.dim,
            "metric": self.metric,
            "model": (self.meta["model"] or {}).get("name", "not recorded"),
            "hot bytes": f"{self.hot_bytes:,}",
            "default plan": self.default_plan(max(1, min(10, len(self)))) if len(self) else "",
            "generation": self.generation,
        }
        rows = (f"<tr><th>{name}</th><td>{escape(str(v))}</td></tr>" for name, v in facts.items())
        return f"<table>{''.join(rows)}</table>"

    # --- what it holds ---------------------------------------------------------------------------

    def __len__(self) -> int:
        """The number of live rows."""
        return len(self._snapshot)

    @property
    def path(self) -> Path:
        """The folder, as an absolute path, which stays valid when the program changes directory."""
        return self._path

    @property
    def snapshot(self) -> Snapshot:
        """The generation that is shown, with its segments."""
        return self._snapshot

    @property
    def generation(self) -> int:
        """The number of commits up to the shown state; a build is the first."""
        return self._snapshot.generation

    @property
    def meta(self) -> Mapping[str, Any]:
        """The entries of the catalog about the whole index."""
        return self._snapshot.meta

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self._snapshot.dim

    @property
    def transform(self) -> Transform | None:
        """The transform of the index, which vectors and queries go through, or None."""
        return self._snapshot.transform

    @property
    def adapter(self) -> Transform | None:
        """Deprecated name of `transform`."""
        warn_renamed("Index.adapter", "Index.transform")
        return self.transform

    @renamed_arguments({"adapted_by": "transformed_by"})
    def transform_queries(
        self, queries: ArrayLike, transformed_by: str | None = None
    ) -> Float32[np.ndarray, "q dim"]:
        """Map queries as stored vectors were mapped: through the transform, if there is one.

        `transformed_by` is the fingerprint of the transform that they went through already; that of
        another one is refused, and so are queries of another width than the model's.
        """
        snapshot = self._snapshot
        return transform_queries(snapshot.transform, snapshot.meta, queries, transformed_by)

    def adapt(
        self, queries: ArrayLike, adapted_by: str | None = None
    ) -> Float32[np.ndarray, "q dim"]:
        """Deprecated name of `transform_queries`."""
        warn_renamed("Index.adapt", "Index.transform_queries")
        return self.transform_queries(queries, adapted_by)

    @property
    def metric(self) -> str:
        """The metric of scores: "ip", "cosine" or "euclidean"."""
        return self._snapshot.metric

    @property
    def hot_bytes(self) -> int:
        """Bytes that searches read again and again: codes, cells, and vectors without codes."""
        return sum(part.hot_bytes for part in self._snapshot.parts)

    @property
    def vectors(self) -> Float32[np.ndarray, "n dim"]:
        """The stored vectors of live rows, in order of insertion.

        They went through the transform, if there is one. They are memory-mapped while they are one
        segment without deleted rows, else copied.
        """
        return self._snapshot.vectors()

    @property
    def ids(self) -> np.ndarray:
        """The ids of live rows, in order of insertion."""
        return self._snapshot.ids()

    def iter_vectors(
        self, block_rows: int = 4096
    ) -> Iterator[tuple[np.ndarray, Float32[np.ndarray, "n dim"]]]:
        """Iterate ids [n] and stored vectors of live rows, at most `block_rows` at a time.

        One generation is shown to the end, whatever is written meanwhile.
        """
        if isinstance(block_rows, bool) or not isinstance(block_rows, int) or block_rows < 1:
            raise InputError(f"block_rows={block_rows!r} is not a whole number of at least 1")
        return self._snapshot.iter_vectors(block_rows)

    def export(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write all live rows to one file, in the format of its suffix, a block at a time.

        `.jsonl` (also `.jsonl.gz`) and `.parquet` hold ids, stored vectors, texts and metadata;
        `.npz` holds vectors and ids, `.safetensors` vectors and ids that are numbers, and `.npy`
        vectors alone. A warning is logged for what the format does not hold. The file appears whole
        or not at all; one that exists is refused (`StorageError`) without `overwrite`.
        """
        from nestvec.index.export import export

        export(self._snapshot, absolute(path), overwrite)

    def get(self, ids: AnyIds) -> list[Document | None]:
        """Return the documents with these ids, in their order: `index.get(hits.ids[0])`.

        `ids` is one id, or any collection of ids, which may repeat. The
        document of padding (id −1 or None) is None. `IdsError` names ids that no row has.
        """
        return get_documents(self._snapshot, ids)

    def __contains__(self, id_: object) -> bool:
        """Tell whether a live row has this id."""
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
        """Return the plan that `search` uses where none is passed, unfiltered and not `exact`.

        It is the plan that `nv.tune` saved for this `k`, while the rows are those that it was tuned
        for; otherwise a rule of thumb.
        """
        check_k(k, len(self))
        return self._snapshot.chosen_plan(None, int(k), True)

    @property
    def stored_plans(self) -> Mapping[int, StoredPlan]:
        """The tuned plans that are stored, by `k`, also those that were tuned for other rows."""
        return self._snapshot.stored_plans

    @property
    def default_recall(self) -> DefaultRecall | None:
        """Recall of the default plan, measured on sampled rows at the last build or `compact`.

        None for fewer than 1,000 rows, for an index of an older version, and once rows change.
        """
        return stored_default_recall(self._snapshot.manifest)

    @property
    def tuned(self) -> Mapping[int, StoredPlan]:
        """Deprecated name of `stored_plans`."""
        warn_renamed("Index.tuned", "Index.stored_plans")
        return self.stored_plans

    @renamed_arguments({"adapted_by": "transformed_by"})
    def search(  # noqa: PLR0913  one call says all about a search
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        plan: str | Plan | None = None,
        dims: int | None = None,
        where: str | None = None,
        exact: bool = False,
        certify: bool = False,
        threads: int | None = None,
        transformed_by: str | None = None,
    ) -> Hits:
        """Search the `k` rows with the best scores for each query [q, dim], by `plan`.

        One vector [dim] is one query, whose hits are `hits[0]`.

        With `exact` the hits are proven to be the exact top k: those that float64 arithmetic on the
        stored float32 vectors gives, equal scores to the smaller row
        (docs/explanation/certificates.md); the plan then is where the proof starts. With `certify`
        the plan's hits stay, and `hits.certified` tells for each query whether they are proven to
        be exact.

        In place of a plan, `dims` limits the default one to codes of the first `dims` dimensions,
        as they are stored; the shortlist is then reranked by the full vectors.

        `where` is a filter such as "year >= 2015" (docs/reference/filters.md): rows that do not
        match are treated as not live. Where there are fewer than `k` rows, the hits are padded with
        row −1, score −∞ and id −1 or None.

        Queries go through the index's transform, unless `transformed_by` is its fingerprint. The
        best cells are probed, and more of them while they hold fewer than `k` live, allowed rows.
        Rows that were added and not yet coded are scored on their full vectors whatever the plan.
        `threads` (None: one per core) share the queries; the hits do not depend on them.
        """
        snapshot = self._snapshot
        array = transform_queries(snapshot.transform, snapshot.meta, queries, transformed_by)
        resolved = resolve_plan(snapshot, k, plan, dims, where, exact, certify)
        check_threads(threads)
        if where is not None:
            snapshot = self._filters.apply(snapshot, where)
        request = SearchRequest(array, int(k), resolved, threads, snapshot.metric)
        if not snapshot.parts:
            return no_hits(request, certified=exact or certify)
        if exact:
            return search_exact(snapshot, request)
        if certify:
            return search_with_certificates(snapshot, request)
        return search_segments(snapshot, request)

    def check_search(
        self,
        k: int = 10,
        *,
        plan: str | Plan | None = None,
        dims: int | None = None,
        where: str | None = None,
        exact: bool = False,
        certify: bool = False,
        threads: int | None = None,
    ) -> Plan:
        """Check the options of a search and prepare it, before there are queries.

        Returns the plan of the search. Compiles kernels and applies the filter, so that the search
        itself need not wait for them. Raises what `search` would raise.
        """
        from nestvec.kernels import load, load_exact

        snapshot = self._snapshot
        resolved = resolve_plan(snapshot, k, plan, dims, where, exact, certify)
        check_threads(threads)
        if where is not None:
            self._filters.apply(snapshot, where)
        if exact or certify:
            load_exact()
        load()
        return resolved

    # --- changing --------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Show the newest generation; return whether there was a newer one."""
        shown = self._snapshot
        self._show(Snapshot.load(self.path, previous=shown))
        return self._snapshot is not shown

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
        array = self._transformed(vectors)
        check_length(texts, len(array), "texts")
        check_length(metadata, len(array), "metadata records")
        checked = None if ids is None else check_ids(ids, len(array))
        with self._writing("add", progress) as writer:
            writer.add(checked, array, texts, metadata)

    def delete(self, ids: AnyIds | None = None, *, where: str | None = None) -> int:
        """Delete the rows with these ids, or those that match a filter; return how many.

        `ids` is one id, or any collection of ids: all of them are deleted or, if one is not there
        (`IdsError`), none. `where` is a filter as in `search`.
        """
        if (ids is None) == (where is None):
            raise InputError("pass either ids or a filter (where=) of the rows to delete")
        checked = None if ids is None else check_ids(ids, ordered=False)
        with self._writing("delete", silent) as writer:
            if checked is None:
                assert where is not None
                checked = self._filters.apply(writer.snapshot, where).ids()
            if len(checked):
                writer.delete(checked)
        return len(checked)

    def update(
        self,
        vectors: ArrayLike | None = None,
        *,
        ids: AnyIds,
        texts: Sequence[str | None] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        merge_metadata: bool = False,
        progress: Progress = silent,
    ) -> None:
        """Replace the rows with these ids in one step; what is None stays as it was.

        `ids` is one id, or a collection in the order of the values. A metadata record replaces the
        whole record of its row; with `merge_metadata` its fields are added to those of the row, and
        replace the ones of the same name. The new rows have new row numbers, the last ones. All or,
        if an id is not there, none.
        """
        checked = check_ids(ids)
        array = None if vectors is None else self._transformed(vectors)
        for values, name in ((array, "vectors"), (texts, "texts"), (metadata, "metadata records")):
            check_length(values, len(checked), name, "ids")
        with self._writing("update", progress) as writer:
            writer.update(checked, array, texts, metadata, merge_metadata)

    def upsert(
        self,
        vectors: ArrayLike,
        *,
        ids: AnyIds,
        texts: Sequence[str | None] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Add rows, and replace whole rows whose ids are there already, in one step.

        A replaced row loses its old text and metadata too; `update` keeps what is not passed.
        """
        array = self._transformed(vectors)
        checked = check_ids(ids, len(array))
        check_length(texts, len(array), "texts")
        check_length(metadata, len(array), "metadata records")
        with self._writing("upsert", progress) as writer:
            writer.upsert(checked, array, texts, metadata)

    def compact(self, *, progress: Progress = silent) -> None:
        """Merge all live rows into one coded segment, and remove deleted rows for good."""
        with self._writing("compact", progress) as writer:
            writer.compact()

    def save_plan(
        self, k: int, plan: Plan, evidence: Mapping[str, Any], rows_checksum: int
    ) -> None:
        """Store a tuned plan as the default for `k` rows, while no rows come or go.

        `evidence` (JSON values) supports its guarantee for rows with this checksum
        (`snapshot.manifest.rows_checksum()`); `StorageError` if they have changed since.
        """
        check_k(k, len(self))
        with self._writing("save a tuned plan", silent) as writer:
            writer.save_plan(k, plan, evidence, rows_checksum)

    def _transformed(self, vectors: ArrayLike) -> Float[np.ndarray, "n dim"]:
        """Map new vectors as they are stored: through the transform, if there is one."""
        transform = self.transform
        if transform is None:
            return check_vectors(vectors, dim=self.dim)
        array = check_vectors(vectors, dim=transform.dim)
        check_same_model(transform, array)
        return transform.transform(array)

    @contextmanager
    def _writing(self, purpose: str, progress: Progress) -> Iterator["Writer"]:
        from nestvec.index.writer import open_writer

        with open_writer(self._snapshot, purpose, progress) as writer:
            yield writer
        self.refresh()

    def _show(self, snapshot: Snapshot) -> None:
        """Show a snapshot, unless another thread has loaded a newer generation in the meantime."""
        with self._showing:
            shown = self._snapshot.manifest
            is_same = shown.lineage == snapshot.manifest.lineage
            if not is_same or shown.generation < snapshot.generation:
                self._shown = snapshot


def absolute(path: str | os.PathLike[str]) -> Path:
    """Make a path absolute, with `~` as the home folder; links stay links."""
    return Path(path).expanduser().absolute()
