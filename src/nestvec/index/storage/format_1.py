"""Indexes of format 1: one segment, nothing deleted, ids beside the codes.

They are searched by their vectors alone, exactly and slowly; the first write brings the catalog to
format 2, and `compact` codes the vectors anew.
"""

import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.documents import Document
from nestvec.errors import DamagedIndexError
from nestvec.index.storage.coded_segment import codes_name
from nestvec.index.storage.ids import Ids
from nestvec.index.storage.manifest import (
    FORMAT,
    SCHEMA,
    Manifest,
    SegmentEntry,
    file_entry,
    row_checksum,
)
from nestvec.index.storage.segment_rows import SegmentRows, vectors_name
from nestvec.index.storage.tensor_file import map_tensors
from nestvec.json_text import parse_json

LAYOUT = "format-1"
_ROWS = "SELECT row, id, text, metadata FROM rows WHERE segment = 1 AND deleted IS NULL"


def read_manifest(db: sqlite3.Connection) -> Manifest:
    """Read the catalog as if it were of format 2."""
    meta = {key: parse_json(value) for key, value in db.execute("SELECT * FROM meta")}
    ((rows,),) = db.execute("SELECT rows FROM segments").fetchall()
    files = tuple(
        file_entry(*row)
        for row in db.execute("SELECT name, size_bytes, checksums FROM files ORDER BY name")
    )
    if {file.name for file in files} != {codes_name(1), vectors_name(1)} or rows != meta["rows"]:
        raise ValueError("it lists other files or rows than format 1 has")
    stored: dict[str, Any] = {
        **{name: meta[name] for name in ("format", "generation", "dim", "metric", "rotation")},
        **{name: meta[name] for name in ("bits", "seed", "model")},
        "next_row": rows,
        "next_segment": 2,
        "lineage": f"{zlib.crc32(b''.join(file.checksums for file in files)):08x}",
    }
    return Manifest(stored, (SegmentEntry(1, LAYOUT, rows, None, files),))


def open_rows(folder: Path) -> SegmentRows:
    """Open the rows of the only segment; of the file of codes only the ids are read."""
    path = folder / codes_name(1)
    vectors, arrays = map_tensors(folder / vectors_name(1)), map_tensors(path)
    try:
        ids = Ids.from_arrays(arrays)
        if len(ids) != len(vectors["vectors"]):
            raise ValueError("it holds another number of rows than the vectors file")
        return SegmentRows(np.arange(len(ids)), ids, vectors["vectors"])
    except (KeyError, ValueError) as e:
        raise DamagedIndexError(
            f"{path} is damaged ({e}); restore it or build the index again"
        ) from None


def document(db: sqlite3.Connection, row: int) -> Document:
    """Read the document of a row."""
    row_values = db.execute(f"{_ROWS} AND row = ?", (row,)).fetchone()
    if row_values is None:
        raise ValueError(f"it lacks row {row}")
    _, id_, text, metadata = row_values
    return Document(id_, text, None if metadata is None else parse_json(metadata))


def upgrade(db: sqlite3.Connection) -> Manifest:
    """Bring the tables to format 2, within the caller's transaction; return the new manifest."""
    manifest = read_manifest(db)
    db.execute("ALTER TABLE rows RENAME TO rows_1")
    db.execute("DROP INDEX live_ids")
    for table in ("meta", "segments", "files"):
        db.execute(f"DROP TABLE {table}")
    for statement in SCHEMA.split(";"):
        db.execute(statement)
    old = _ROWS.replace("FROM rows", "FROM rows_1")
    db.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", _checked(db.execute(old)))
    db.execute("INSERT INTO ids SELECT id, row FROM rows")
    db.execute("DROP TABLE rows_1")
    return Manifest({**manifest.meta, "format": FORMAT}, manifest.entries)


def _checked(rows: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    return ((*row, row_checksum(*row)) for row in rows)
