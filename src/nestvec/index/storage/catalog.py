"""The SQLite catalog of an index: its segments, and the ids, texts and metadata of its rows.

A change to an index is one transaction here; segment files are written before it and never after.
SQLite would not notice a flipped bit, so one checksum covers all that searches depend on, and each
row of ids, texts and metadata has another. docs/reference/file-formats.md describes the tables, and
decision 10 has the reasons.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from nestvec.documents import Document, Id
from nestvec.errors import DamagedIndexError, NestvecError, NewerFormatError, StorageError
from nestvec.index.storage import format_1
from nestvec.index.storage.manifest import (
    SCHEMA,
    WITH_ADAPTER,
    FileEntry,
    Manifest,
    RowRecord,
    SegmentEntry,
    file_entry,
    row_checksum,
)
from nestvec.index.storage.meta_checks import check_meta
from nestvec.json_text import parse_json

NAME = "catalog.sqlite"
_TIMEOUT_S = 60.0
"""How long to wait for another process to finish a commit, which takes milliseconds."""
_CACHE_KIB = 1 << 16
_ROWS_PER_TRANSACTION = 10_000
_TELLING_COLUMNS = {
    "meta": {"key", "value"},
    "segments": {"segment", "rows"},
    "files": {"name", "segment", "size_bytes", "checksums"},
    "rows": {"row", "id", "text", "metadata"},
}
"""Tables and columns that every format has."""
_FAILURES = ("is full", "readonly", "unable to open", "locked", "I/O error", "busy")
"""Messages of SQLite when a catalog that is not damaged cannot be read or written."""


# --- reading -------------------------------------------------------------------------------------


def load_manifest(folder: Path) -> Manifest:
    """Read the last commit of the index in `folder`; `StorageError` if it is no index."""
    if not (folder / NAME).is_file():
        raise StorageError(
            f"{folder} is not a nestvec index (it holds no {NAME}); "
            "build one with Index.build or 'nestvec index'"
        )
    with read_transaction(folder) as db:
        return read_manifest(db, folder)


def recognize(folder: Path) -> dict[str, Any] | None:
    """Read `meta` of a catalog of any format, without a check for damage; None for other files.

    Nothing is written, because another program may be using a file that is no catalog.
    """
    path = folder / NAME
    if not path.is_file() or not _has_header(path):
        return None
    try:
        try:
            return _known_meta(path, "ro")
        except StorageError as e:
            # A killed writer left its journal, which only a writer may undo: the tables that tell
            # are under the pages that it was to change.
            if isinstance(e, DamagedIndexError) or "readonly" not in str(e):
                raise
            return _known_meta(path, "ro&immutable=1")
    except DamagedIndexError:
        return None


def _has_header(path: Path) -> bool:
    """Tell whether a file is an SQLite database with a rollback journal, as every catalog is.

    SQLite creates files beside a database with a write-ahead log, even to read it.
    """
    with path.open("rb") as file:
        header = file.read(20)
    return header.startswith(b"SQLite format 3\0") and header[18:] == b"\x01\x01"


def _known_meta(path: Path, mode: str) -> dict[str, Any] | None:
    with _nonsense(path), _connect(path, mode) as db:
        for table, columns in _TELLING_COLUMNS.items():
            rows = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
            if not columns <= rows:
                return None
        meta = {key: parse_json(value) for key, value in db.execute("SELECT key, value FROM meta")}
        stored = isinstance(meta.get("format"), int) and isinstance(meta.get("dim"), int)
        return meta if stored else None


@contextmanager
def read_transaction(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection that sees one commit; SQLite first undoes what a killed writer left."""
    path = folder / NAME
    with _nonsense(path), _connect(path, "ro") as db:
        try:
            _begin(db)
        except sqlite3.OperationalError as e:
            if "readonly" not in str(e):  # the undoing is what a read-only connection may not do
                raise
            with _connect(path, "rw") as recovering:
                recovering.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            _begin(db)
        yield db
        db.execute("ROLLBACK")


def _begin(db: sqlite3.Connection) -> None:
    """Begin a transaction by reading, because only the first read fixes the commit that it sees."""
    if db.in_transaction:
        db.execute("ROLLBACK")
    db.execute("BEGIN")
    db.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def read_manifest(db: sqlite3.Connection, folder: Path) -> Manifest:
    """Read the commit that `db` sees, and check its checksum."""
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    if (folder / NAME).stat().st_size % page_bytes:
        raise ValueError("it is cut off within a page")
    version = _format(db)
    if version > WITH_ADAPTER:
        raise NewerFormatError(
            f"{folder} has format {version} and this nestvec reads up to {WITH_ADAPTER}; "
            "upgrade nestvec"
        )
    if version == 1:
        return format_1.read_manifest(db)
    meta = {key: parse_json(value) for key, value in db.execute("SELECT * FROM meta")}
    files: dict[int, list[FileEntry]] = {}
    for segment, *file in db.execute(
        "SELECT segment, name, size_bytes, checksums FROM files ORDER BY name"
    ):
        files.setdefault(segment, []).append(file_entry(*file))
    entries = tuple(
        SegmentEntry(segment, layout, rows, deleted, tuple(files.pop(segment, ())))
        for segment, layout, rows, deleted in db.execute("SELECT * FROM segments ORDER BY segment")
    )
    manifest = Manifest({k: v for k, v in meta.items() if k != "checksum"}, entries)
    if files or meta["checksum"] != manifest.checksum():
        raise ValueError("it differs from its checksum")
    check_meta(manifest)
    return manifest


def _format(db: sqlite3.Connection) -> int:
    row = db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    version = parse_json(row[0]) if row else None
    if not isinstance(version, int) or version < 1:
        raise ValueError("it says no format")
    return version


def documents(folder: Path, rows: Sequence[int], generation: Manifest) -> list[Document]:
    """Read the documents of these rows of a generation, in their order.

    `StorageError` where they have gone: the index was replaced, or they were deleted and the
    index compacted.
    """
    with read_transaction(folder) as db:
        latest = read_manifest(db, folder)
        if latest.lineage != generation.lineage:
            raise StorageError(f"{folder} was replaced by another index; open it again")
        if latest.meta["format"] == 1:
            return [format_1.document(db, row) for row in rows]
        query = "SELECT row, id, text, metadata, checksum FROM rows WHERE row = ?"
        stored = [db.execute(query, (row,)).fetchone() for row in rows]
    if None in stored and latest.generation != generation.generation:
        raise StorageError(
            f"row {rows[stored.index(None)]} of {folder} was deleted and compacted since this "
            "generation; use refresh() and search again"
        )
    with _nonsense(folder / NAME):
        return [_document(row, values) for row, values in zip(rows, stored, strict=True)]


def _document(row: int, values: tuple[int, Id, str | None, str | None, int] | None) -> Document:
    if values is None:
        raise ValueError(f"it lacks row {row}")
    stored, id_, text, metadata, checksum = values
    if stored != row or checksum != row_checksum(row, id_, text, metadata):
        raise ValueError(f"row {row} differs from its checksum")
    return Document(id_, text, None if metadata is None else parse_json(metadata))


def rows_of(folder: Path, ids: Iterable[Id], generation: Manifest) -> list[int | None] | None:
    """Look up the live row of each id, or None; None alone unless `generation` is the last commit.

    Only the last commit, and none of format 1, has a table of its ids.
    """
    with read_transaction(folder) as db:
        latest = read_manifest(db, folder)
        moved = (latest.lineage, latest.generation) != (generation.lineage, generation.generation)
        if moved or latest.meta["format"] == 1:
            return None
        return _find(db, ids)


def _find(db: sqlite3.Connection, ids: Iterable[Id]) -> list[int | None]:
    query = "SELECT row FROM ids WHERE id = ?"
    stored = (db.execute(query, (id_,)).fetchone() for id_ in ids)
    return [None if row is None else row[0] for row in stored]


def verify(folder: Path) -> None:
    """Raise `DamagedIndexError` unless every page and every row is as it was written."""
    with read_transaction(folder) as db:
        (answer,) = db.execute("PRAGMA integrity_check(1)").fetchone()
        if answer != "ok":
            raise ValueError(answer)
        if read_manifest(db, folder).meta["format"] == 1:
            return
        for values in db.execute("SELECT row, id, text, metadata, checksum FROM rows"):
            _document(values[0], values)


def live_rows(folder: Path, generation: Manifest) -> list[tuple[Id, int]] | None:
    """List all ids and their rows, by row; None unless `generation` is the last commit."""
    with read_transaction(folder) as db:
        latest = read_manifest(db, folder)
        if latest != generation or latest.meta["format"] == 1:
            return None
        return db.execute("SELECT id, row FROM ids ORDER BY row").fetchall()


# --- writing -------------------------------------------------------------------------------------


@contextmanager
def create(folder: Path) -> Iterator["CatalogTransaction"]:
    """Create the catalog of a new index, for the caller to fill and commit."""
    with _connect(folder / NAME, "rwc") as db:
        db.executescript(SCHEMA)
        yield CatalogTransaction(db, folder)


@contextmanager
def write_transaction(folder: Path) -> Iterator["CatalogTransaction"]:
    """Open the catalog of an index for changes; the caller holds the writer lock."""
    with _connect(folder / NAME, "rw") as db:
        # A commit that has returned is durable, whatever happens to the machine.
        db.execute("PRAGMA synchronous = EXTRA")
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        # Pages go to the file at the end of a transaction alone, so that readers need not wait.
        db.execute("PRAGMA cache_spill = OFF")
        yield CatalogTransaction(db, folder)


class CatalogTransaction:
    """A catalog open for writing; readers see none of the changes before `commit`."""

    def __init__(self, db: sqlite3.Connection, folder: Path) -> None:
        self._db = db
        self._folder = folder

    def read(self) -> Manifest:
        """Read the last commit, after an upgrade to the current format if it has an older one."""
        with _nonsense(self._folder / NAME), self._transaction():
            if _format(self._db) == 1:
                manifest = format_1.upgrade(self._db)
                self._store_manifest(manifest)
            return read_manifest(self._db, self._folder)

    def sweep(self, next_row: int) -> None:
        """Delete rows that a killed writer stored and did not commit."""
        with self._transaction():
            self._db.execute("DELETE FROM rows WHERE row >= ?", (next_row,))

    def rows_with_ids(self, ids: Iterable[Id]) -> list[int | None]:
        """Look up the row of each id, or None for an id that no live row has."""
        return _find(self._db, ids)

    def records(self, rows: Iterable[int]) -> Iterator[RowRecord]:
        """Iterate the records of some rows, checked."""
        query = "SELECT row, id, text, metadata, checksum FROM rows WHERE row = ?"
        for row in rows:
            values = self._db.execute(query, (row,)).fetchone()
            with _nonsense(self._folder / NAME):
                _document(row, values)
            yield values[:4]

    def store_rows(self, records: Iterable[RowRecord]) -> int:
        """Store rows that no commit names yet, and return the checksum of all their checksums.

        There are many small transactions, because a large one would block readers and take memory.
        """
        total, remaining = 0, iter(records)
        while batch := [(*r, row_checksum(*r)) for r in islice(remaining, _ROWS_PER_TRANSACTION)]:
            total = zlib.crc32(",".join(str(r[-1]) for r in batch).encode(), total)
            with self._transaction():
                self._db.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", batch)
        return total

    def commit(
        self, manifest: Manifest, deleted: Iterable[Id] = (), added: Iterable[tuple[Id, int]] = ()
    ) -> None:
        """Commit `manifest`; `deleted` ids are free again, and `added` ids name their rows."""
        with self._transaction():
            self._db.executemany("DELETE FROM ids WHERE id = ?", ((id_,) for id_ in deleted))
            self._db.executemany("INSERT INTO ids VALUES (?, ?)", added)
            self._store_manifest(manifest)

    def _store_manifest(self, manifest: Manifest) -> None:
        for table in ("meta", "segments", "files"):
            self._db.execute(f"DELETE FROM {table}")
        meta = {**manifest.meta, "checksum": manifest.checksum()}
        self._db.executemany(
            "INSERT INTO meta VALUES (?, ?)", [(k, json.dumps(v)) for k, v in meta.items()]
        )
        for e in manifest.entries:
            values = (e.segment, e.layout, e.rows, e.deleted)
            self._db.execute("INSERT INTO segments VALUES (?, ?, ?, ?)", values)
            self._db.executemany(
                "INSERT INTO files VALUES (?, ?, ?, ?)",
                [(f.name, e.segment, f.size_bytes, f.checksums) for f in e.files],
            )

    def drop_tombstones(self) -> None:
        """Delete the records of rows that are not live, and shrink the file if they are many."""
        with self._transaction():
            self._db.execute("DELETE FROM rows WHERE row NOT IN (SELECT row FROM ids)")
        pages, free = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count")
        )
        if 4 * free > pages:
            self._db.execute("VACUUM")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


# --- connections ---------------------------------------------------------------------------------


@contextmanager
def _connect(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    with (
        _sqlite_errors(path),
        closing(sqlite3.connect(uri, uri=True, timeout=_TIMEOUT_S, isolation_level=None)) as db,
    ):
        yield db


@contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into `StorageError` if it cannot read or write, else into damage."""
    try:
        yield
    except sqlite3.Error as e:
        if any(failure in str(e) for failure in _FAILURES):
            raise StorageError(
                f"{path} cannot be read or written ({e}); check disk space and permissions, "
                "nothing that was committed is lost"
            ) from None
        raise DamagedIndexError(_damaged(path, e)) from None


@contextmanager
def _nonsense(path: Path) -> Iterator[None]:
    """Turn any error in reading the values of a catalog into `DamagedIndexError`."""
    try:
        yield
    except NestvecError:
        raise
    except (KeyError, ValueError, TypeError, OverflowError) as e:
        raise DamagedIndexError(_damaged(path, e)) from None


def _damaged(path: Path, error: Exception) -> str:
    return f"{path} cannot be used as a catalog ({error}); restore it or build the index again"
