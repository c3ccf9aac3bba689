"""The SQLite catalog of an index: what belongs to it, and what its rows mean to people.

A change to an index is one transaction here; segment files are written before it and never after.
The tables are described in docs/FORMAT.md.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestvec.errors import (
    DamagedIndexError,
    NestvecError,
    NewerFormatError,
    StorageError,
)

FORMAT = 1
NAME = "catalog.sqlite"
Id = int | str
RowRecord = tuple[int, Id, str | None, str | None]
"""Row number, id, text, metadata as JSON."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE segments (
    segment INTEGER PRIMARY KEY, rows INTEGER NOT NULL, added INTEGER NOT NULL, removed INTEGER
);
CREATE TABLE files (
    name TEXT PRIMARY KEY, segment INTEGER, size_bytes INTEGER NOT NULL, checksums BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE rows (
    segment INTEGER NOT NULL, row INTEGER NOT NULL, id NOT NULL, text TEXT, metadata TEXT,
    deleted INTEGER, PRIMARY KEY (segment, row)
) WITHOUT ROWID;
CREATE UNIQUE INDEX live_ids ON rows (id) WHERE deleted IS NULL;
"""


@dataclass(frozen=True, slots=True)
class File:
    """A file of the index, relative to its directory."""

    name: str
    size_bytes: int
    checksums: bytes


@dataclass(frozen=True, slots=True)
class Document:
    """What is stored with a row besides its vector."""

    id: Id
    text: str | None
    metadata: Mapping[str, Any] | None


def create(
    folder: Path,
    meta: Mapping[str, Any],
    rows: Iterable[RowRecord],
    count: int,
    files: Iterable[File],
) -> None:
    """Write the catalog of a new index with one segment."""
    with _connect(folder / NAME, "rwc") as db:
        db.executescript(_SCHEMA)
        entries = {"format": FORMAT, "generation": 1, **meta}
        with db:
            db.executemany(
                "INSERT INTO meta VALUES (?, ?)", [(k, json.dumps(v)) for k, v in entries.items()]
            )
            db.execute("INSERT INTO segments VALUES (1, ?, 1, NULL)", (count,))
            db.executemany(
                "INSERT INTO files VALUES (?, 1, ?, ?)",
                [(f.name, f.size_bytes, f.checksums) for f in files],
            )
            db.executemany("INSERT INTO rows VALUES (1, ?, ?, ?, ?, NULL)", rows)
        # Readers of a folder that they may not write to need a catalog without a write-ahead log.
        db.execute("PRAGMA journal_mode = DELETE")


def read(folder: Path) -> tuple[dict[str, Any], list[File]]:
    """The meta entries and the files of the index in `folder`; clear errors when it is none."""
    path = folder / NAME
    if not path.is_file():
        raise StorageError(
            f"{folder} is not a nestvec index (it holds no {NAME}); "
            "build one with Index.build or 'nestvec index'"
        )
    with _connect(path, "ro") as db:
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        if path.stat().st_size % page_bytes:
            raise ValueError("it is cut off within a page")
        meta = {key: json.loads(value) for key, value in db.execute("SELECT * FROM meta")}
        if meta["format"] > FORMAT:
            raise NewerFormatError(
                f"{folder} has format {meta['format']} and this nestvec reads up to {FORMAT}; "
                "upgrade nestvec"
            )
        rows = db.execute("SELECT name, size_bytes, checksums FROM files ORDER BY name")
        return meta, [_file(*row) for row in rows]


def _file(name: Any, size_bytes: Any, checksums: Any) -> File:
    if [type(value) for value in (name, size_bytes, checksums)] != [str, int, bytes]:
        raise ValueError("its list of files is damaged")
    if not name.isprintable() or Path(name).name != name:
        raise ValueError(f"{name!r} is no name of a file")
    return File(name, size_bytes, checksums)


def documents(folder: Path, rows: Sequence[int]) -> list[Document]:
    """What is stored with the given rows, in their order."""
    query = "SELECT id, text, metadata FROM rows WHERE segment = 1 AND row = ?"
    with _connect(folder / NAME, "ro") as db:
        return [_document(row, db.execute(query, (row,)).fetchone()) for row in rows]


def _document(row: int, found: tuple[Id, str | None, str | None] | None) -> Document:
    if found is None:
        raise ValueError(f"it lacks row {row}")
    id_, text, metadata = found
    return Document(id_, text, None if metadata is None else json.loads(metadata))


@contextmanager
def _connect(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True)) as db:
            yield db
    except NestvecError:
        raise
    except (sqlite3.Error, KeyError, ValueError, TypeError, OverflowError) as e:
        raise DamagedIndexError(
            f"{path} cannot be used as a catalog ({e}); restore it or build the index again"
        ) from None
