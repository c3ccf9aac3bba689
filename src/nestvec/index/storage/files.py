"""The files of an index and their entries in the catalog: sizes, checksums, removal."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from nestvec.errors import DamagedIndexError, StorageError
from nestvec.index.storage.coded_segment import BULK
from nestvec.index.storage.manifest import FileEntry
from nestvec.index.storage.tensor_file import CHUNK_BYTES, checksums, chunks_without, damaged_chunk

SEGMENT_FILE = re.compile(r"\d{6,}\.(vectors|codes)\.safetensors")
"""Names that `vectors_name` and `codes_name` give."""


def file_entry(path: Path) -> FileEntry:
    """Make the catalog entry of a file, which is durable on disk when this returns."""
    _sync(path)
    return FileEntry(path.name, path.stat().st_size, checksums(path))


def sync_folder(folder: Path) -> None:
    """Make the names of the files in a folder durable on disk."""
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_file(folder: Path, file: FileEntry, whole: bool) -> None:
    """Raise `DamagedIndexError` unless the file has its size and its checksums.

    Without `whole`, bulk data is not read: codes and vectors, which locate no other data.
    """
    path = folder / file.name
    try:
        problem = _problem(path, file, whole)
    except FileNotFoundError:
        problem = "is missing, although the index lists it"
    except OSError as e:
        raise StorageError(f"{path} cannot be read ({e.strerror}); check its permissions") from None
    if problem is not None:
        raise DamagedIndexError(f"{path} {problem}; restore it or build the index again")


def _problem(path: Path, file: FileEntry, whole: bool) -> str | None:
    size = path.stat().st_size
    if size != file.size_bytes:
        return f"has {size} bytes instead of {file.size_bytes}"
    chunks = range(-(-size // CHUNK_BYTES))
    # First the header, which locates the arrays; then all, or those that locate other data.
    chunk = damaged_chunk(path, file.checksums, chunks[:1])
    if chunk is None:
        chunk = damaged_chunk(path, file.checksums, chunks if whole else chunks_without(path, BULK))
    if chunk is None:
        return None
    return f"differs from its checksum in MiB {chunk + 1} of {len(chunks)}"


def sweep(folder: Path, listed: Iterable[str]) -> None:
    """Remove segment files that the catalog does not list, of killed writers or merged segments.

    A process that has mapped such a file can read it until it closes the index.
    """
    names = set(listed)
    for path in folder.iterdir():
        if SEGMENT_FILE.fullmatch(path.name) and path.name not in names:
            path.unlink(missing_ok=True)
