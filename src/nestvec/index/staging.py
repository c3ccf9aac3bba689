"""A folder that appears whole or not at all."""

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nestvec.errors import StorageError


@contextmanager
def staging(path: Path, overwrite: bool) -> Iterator[Path]:
    """A folder beside `path` that becomes `path` in one rename, or vanishes on any error.

    With `overwrite` it takes the place of what is there. What a killed build left behind is swept
    by the next build of the same path.
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
        yield stage
        _put_in_place(stage, path, overwrite)
    except OSError as e:
        raise StorageError(f"the index at {path} was not written ({e}); nothing was kept") from e
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _put_in_place(stage: Path, path: Path, overwrite: bool) -> None:
    if not overwrite or not path.exists():
        stage.rename(path)
        return
    replaced = path.parent / f"{stage.name}-replaced"
    path.rename(replaced)
    try:
        stage.rename(path)
    except OSError:
        replaced.rename(path)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _sweep(path: Path, prefix: str) -> None:
    for left in path.parent.glob(f"{glob.escape(prefix)}*"):
        if left.name.endswith("-replaced") and not path.exists():
            continue  # killed between two renames: this is the only index there is
        pid = left.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and not _is_running(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True
