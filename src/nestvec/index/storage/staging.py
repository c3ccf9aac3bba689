"""A folder that appears whole or not at all."""

import ctypes
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from nestvec.errors import StorageError
from nestvec.index.storage.files import sync_folder
from nestvec.index.storage.target import check_replaceable
from nestvec.index.storage.writer_lock import writer_lock

_CWD, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE in Linux's fcntl.h and fs.h


@contextmanager
def staging(path: Path, overwrite: bool) -> Iterator[Path]:
    """Create a folder beside `path` that becomes `path` in one step, or vanishes on any error.

    With `overwrite` it takes the place of the index there, locked until then. What a killed build
    left behind is swept by the next build of the same path.
    """
    prefix = f".{path.name}.building-"
    # In a container every process may have the same number: that alone is not a new name.
    stage = path.parent / f"{prefix}{os.getpid()}-{os.urandom(4).hex()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path, prefix)
        stage.mkdir()
    except OSError as e:
        raise StorageError(
            f"cannot write an index at {path} ({e.strerror}); choose a folder you may write to"
        ) from None
    try:
        with writer_lock(path, "overwrite") if overwrite and path.exists() else nullcontext():
            yield stage
            _publish(stage, path, overwrite)
    except OSError as e:
        raise StorageError(
            f"the index at {path} was not written ({e.strerror or e}), and nothing of it is left; "
            "check disk space and permissions"
        ) from e
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _publish(stage: Path, path: Path, overwrite: bool) -> None:
    if not overwrite or not path.exists():
        stage.rename(path)
    else:
        check_replaceable(path)  # once more: building takes time, in which files may come
        if not _swap_folders(stage, path):
            _replace_in_two_steps(stage, path)
    try:
        sync_folder(path.parent)
    except OSError as e:
        raise StorageError(
            f"the index at {path} is complete and can be opened, but whether it survives a power "
            f"failure is not known ({e.strerror or e}); check the disk"
        ) from e


def _swap_folders(stage: Path, path: Path) -> bool:
    """Swap two folders in one step; False where the system cannot do that."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(renameat2(_CWD, os.fsencode(stage), _CWD, os.fsencode(path), _EXCHANGE) == 0)


def _replace_in_two_steps(stage: Path, path: Path) -> None:
    """Replace a folder; a kill in between leaves the old index under another name beside it."""
    replaced = path.parent / f"{stage.name}-replaced"
    path.rename(replaced)
    try:
        stage.rename(path)
    except OSError:
        replaced.rename(path)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _sweep(path: Path, prefix: str) -> None:
    for leftover in path.parent.glob(f"{glob.escape(prefix)}*"):
        if leftover.name.endswith("-replaced") and not path.exists():
            continue  # killed between two renames: this is the only index there is
        pid = leftover.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and not _is_running(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True
