"""The lock of the only writer, which the system releases when its holder dies."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nestvec.errors import LockedError, StorageError

NAME = "writer.lock"


@contextmanager
def writer_lock(folder: Path, purpose: str) -> Iterator[None]:
    """Lock the index in `folder` for writing; `LockedError` names the holder of the lock.

    A `flock` on a file that is never removed: it excludes threads as well as processes, on this
    machine and, where the file system passes locks on, on others.
    """
    import fcntl  # POSIX alone; elsewhere indexes can be built and searched

    lock = _open(folder)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"{folder} is being written to by {_holder(lock)}; "
                "try again when that is done: an index has one writer at a time"
            ) from None
        _sign(lock, f"process {os.getpid()} on {socket.gethostname()} ({purpose})")
        _check_place(folder, lock)
        yield
    finally:
        # A process forked in the meantime has the handle too: closing ours would not let go.
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def _open(folder: Path) -> int:
    try:
        return os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        raise StorageError(f"{folder} is not there; build an index first") from None
    except OSError as e:
        raise StorageError(
            f"{folder} cannot be written to ({e.strerror}); check its permissions"
        ) from None


def _holder(lock: int) -> str:
    return os.pread(lock, 1000, 0).decode(errors="replace").strip() or "another process"


def _sign(lock: int, name: str) -> None:
    """Write the name of the holder, for people to read; a full disk is no error."""
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{name}\n".encode(), 0)
    except OSError:
        pass


def _check_place(folder: Path, lock: int) -> None:
    """Raise `LockedError` if an overwrite replaced the folder before its lock was acquired."""
    try:
        current = (folder / NAME).stat()
    except FileNotFoundError:
        current = None
    locked = os.fstat(lock)
    if current is None or (current.st_dev, current.st_ino) != (locked.st_dev, locked.st_ino):
        raise LockedError(f"{folder} was just replaced by another index; try again")
