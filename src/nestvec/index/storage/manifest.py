"""The manifest of a generation: its segments and files with checksums, and the rows' records."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestvec.documents import Id

FORMAT = 2
WITH_ADAPTER = 3
"""Format 2 with a transform, which a reader of format 2 would leave out of queries."""
RowRecord = tuple[int, Id, str | None, str | None]
"""Row number, id, text, metadata as JSON."""

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE segments (
    segment INTEGER PRIMARY KEY, layout TEXT NOT NULL, rows INTEGER NOT NULL, deleted BLOB
);
CREATE TABLE files (
    name TEXT PRIMARY KEY, segment INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    checksums BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE rows (
    row INTEGER PRIMARY KEY, id NOT NULL, text TEXT, metadata TEXT, checksum INTEGER NOT NULL
);
CREATE TABLE ids (id PRIMARY KEY NOT NULL, row INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the index, relative to its directory."""

    name: str
    size_bytes: int
    checksums: bytes


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """Catalog entry of a segment: its number, layout, rows, deleted rows and files."""

    segment: int
    layout: str
    """"coded", "flat" (rows without codes) or "format-1" (rows with codes of format 1)."""
    rows: int
    deleted: bytes | None
    """A bit for each row, packed and compressed; None when all rows are live."""
    files: tuple[FileEntry, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """One generation of an index: the facts, segments and files that open it."""

    meta: Mapping[str, Any]
    entries: tuple[SegmentEntry, ...]

    @property
    def lineage(self) -> str:
        """Identity of the index, computed when it is built."""
        return str(self.meta["lineage"])

    @property
    def generation(self) -> int:
        """The number of commits up to this state."""
        return int(self.meta["generation"])

    def checksum(self) -> int:
        """CRC-32 of the canonical JSON of the manifest."""
        return zlib.crc32(json.dumps([self.meta, self._segments()], sort_keys=True).encode())

    def rows_checksum(self) -> int:
        """CRC-32 of the canonical JSON of the segments: what is true of these rows and codes.

        It changes with every row that comes or goes, and when the rows are coded anew.
        """
        return zlib.crc32(json.dumps(self._segments(), sort_keys=True).encode())

    def _segments(self) -> list[list[Any]]:
        return [
            [e.segment, e.layout, e.rows, e.deleted and e.deleted.hex(), *map(_listed, e.files)]
            for e in self.entries
        ]


def row_checksum(row: int, id_: Id, text: str | None, metadata: str | None) -> int:
    """Compute the CRC-32 of a row's id, text and metadata, in an unambiguous form."""
    length = -1 if text is None else len(text)
    return zlib.crc32(f"{row} {id_!r} {length} {text} {metadata}".encode())


def file_entry(name: Any, size_bytes: Any, checksums: Any) -> FileEntry:
    """Read a file entry; `ValueError` for values that cannot be one."""
    if [type(value) for value in (name, size_bytes, checksums)] != [str, int, bytes]:
        raise ValueError("its list of files is damaged")
    if not name.isprintable() or Path(name).name != name:
        raise ValueError(f"{name!r} is no name of a file")
    return FileEntry(name, size_bytes, checksums)


def _listed(file: FileEntry) -> list[Any]:
    return [file.name, file.size_bytes, file.checksums.hex()]
