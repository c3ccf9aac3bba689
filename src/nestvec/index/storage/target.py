"""The folder that a build writes, and a check that an overwrite deletes an index and no more."""

import os
import re
from pathlib import Path

from nestvec.errors import StorageError
from nestvec.index import query_transform
from nestvec.index.storage import catalog, writer_lock
from nestvec.index.storage.files import SEGMENT_FILE

_LEFT_BY_SYSTEMS = re.compile(r"\.nfs[0-9a-f]{16,}|\.DS_Store")
"""NFS keeps a deleted file under such a name while it is read; macOS describes folders."""
_MOST_NAMED = 3
"""Foreign files that an error lists: enough to recognise whose they are."""


def holds_index(path: Path) -> bool:
    """Tell whether a path is the folder of an index, even of a damaged one."""
    return (path / catalog.NAME).is_file()


def check_target(path: Path, overwrite: bool) -> Path:
    """Return the folder that a build at `path` writes: the target of a link, else `path`.

    `StorageError` if it exists, or with `overwrite` if anything would be deleted but an index.
    """
    folder = Path(os.path.realpath(path)) if path.is_symlink() else path
    if folder.is_symlink():
        raise StorageError(f"{path} is a link that leads back to itself; choose another path")
    if folder.exists():
        if not overwrite:
            raise StorageError(f"{path} exists; choose another path or pass overwrite=True")
        check_replaceable(folder)
    return folder


def check_replaceable(folder: Path) -> None:
    """Raise `StorageError` unless `folder` holds an index, even damaged, and nothing else."""
    meta = catalog.recognize(folder)
    if meta is None:
        raise StorageError(
            f"{folder} is not a nestvec index, and overwrite=True replaces nothing else; "
            "choose another path, or delete it yourself if it may go"
        )
    names = {catalog.NAME, f"{catalog.NAME}-journal", writer_lock.NAME}
    if "adapter" in meta:
        names.add(query_transform.NAME)
    foreign = sorted(entry.name for entry in folder.iterdir() if not _belongs(entry, names))
    if foreign:
        named = ", ".join(map(repr, foreign[:_MOST_NAMED]))
        n_more = f" and {len(foreign) - _MOST_NAMED:,} more" if len(foreign) > _MOST_NAMED else ""
        raise StorageError(
            f"{folder} holds {named}{n_more} besides its index, which overwriting would delete; "
            "move it elsewhere, or choose another path"
        )


def _belongs(entry: Path, names: set[str]) -> bool:
    """Tell whether an entry is part of an index, which has neither links nor folders."""
    if entry.is_symlink() or not entry.is_file():
        return False
    patterns = (SEGMENT_FILE, _LEFT_BY_SYSTEMS)
    return entry.name in names or any(pattern.fullmatch(entry.name) for pattern in patterns)
