"""A disk that is full, or that may not be written to: a clear error, and nothing lost."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from nestvec import Index
from nestvec.errors import StorageError

LIMITED = """
import resource, signal, sys
import numpy as np
from nestvec import Index
from nestvec.errors import StorageError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
change, path, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
vectors = np.ones((3000, 16), np.float32)
texts = ["text " * 20] * 3000
try:
    if change == "build":
        Index.build(vectors, path, texts=texts, overwrite=True)
    else:
        index = Index.open(path)
        if change == "add":
            index.add(vectors, texts=texts)
        elif change == "update":
            index.update(ids=range(10, 210), texts=texts[:200])
        elif change == "delete":
            index.delete(range(10, 210))
        else:
            index.compact()
    print("done")
except StorageError as e:
    print("StorageError", e)
"""


@pytest.fixture
def path(tmp_path, rng):
    index = Index.build(rng.standard_normal((300, 16)).astype(np.float32), tmp_path / "i.nv")
    index.add(rng.standard_normal((50, 16)).astype(np.float32))
    index.delete([3])
    return index.path


def run(script, *arguments):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("change", ["build", "add", "update", "delete", "compact"])
def test_a_full_disk_is_an_error_that_loses_nothing(path, change):
    # The limit on the size of a file stands for the end of the disk, at one place after another.
    before = Index.open(path)
    outcomes = set()
    for limit in (100, 5_000, 20_000, 50_000, 100_000, 400_000):
        output = run(LIMITED, change, path, limit)
        outcomes.add(output.split()[0])
        if output.startswith("done"):
            break
        now = Index.open(path, verify=True)
        assert now.ids.tolist() == before.ids.tolist()
        assert (now.vectors == before.vectors).all()
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        now.add(np.ones((1, 16), np.float32), ids=[10**6])
        now.delete([10**6])
    assert "StorageError" in outcomes


def test_a_file_system_without_room_is_an_error_that_loses_nothing(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(place)]
    if os.name != "posix" or os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        vectors = np.ones((1000, 16), np.float32)
        index = Index.build(vectors, place / "i.nv", texts=["text"] * 1000)
        added = 0
        with pytest.raises(StorageError):  # never SIGBUS, which a map into a full disk gives
            for added in range(1, 1000):
                index.add(vectors[:500] * added)
        now = Index.open(place / "i.nv", verify=True)
        assert len(now) == len(index) == 1000 + 500 * (added - 1)
        now.delete(range(5))
        with pytest.raises(StorageError):
            Index.build(np.ones((20_000, 16), np.float32), place / "other.nv")
        assert [file.name for file in place.iterdir()] == ["i.nv"]
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


READ_ONLY = """
import fcntl, os, sys
import numpy as np
import nestvec.index.row_filters, nestvec.index.storage.staging, nestvec.index.writer
from nestvec import Index
from nestvec.errors import StorageError

if os.geteuid() == 0:  # root may write anywhere
    os.setegid(65534)
    os.seteuid(65534)
index = Index.open(sys.argv[1], verify=True)
index.snapshot.documents([5])
index.refresh()
for change in (
    lambda: index.add(np.ones((1, 16), np.float32)),
    lambda: index.delete([5]),
    lambda: index.compact(),
    lambda: Index.build(np.ones((5, 16), np.float32), sys.argv[1], overwrite=True),
    lambda: Index.build(np.ones((5, 16), np.float32), sys.argv[1] + ".new"),
):
    try:
        change()
        print("changed")
    except StorageError as e:
        print(e)
"""


def test_a_folder_that_may_only_be_read_is_searched_and_refuses_to_be_changed(path):
    for place in (path, *path.iterdir()):
        place.chmod(0o555 if place.is_dir() else 0o444)
    path.parent.chmod(0o555)
    for parent in list(path.parents)[1:-2]:  # pytest's own folders are for their maker alone
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o055)
    lines = run(READ_ONLY, path).splitlines()
    path.parent.chmod(0o755)
    path.chmod(0o755)
    assert len(lines) == 5
    assert all("cannot" in line or "was not" in line for line in lines), lines
    assert len(Index.open(path, verify=True)) == 349


@pytest.mark.door(
    "an error of the disk after the last step of a build", "says that the index is complete"
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_error_after_the_last_step_does_not_say_that_nothing_was_written(
    tmp_path, monkeypatch, overwrite
):
    old, new = np.eye(4, dtype=np.float32), 2 * np.eye(4, dtype=np.float32)
    if overwrite:
        Index.build(old, tmp_path / "i.nv")
    fsync = os.fsync

    def fail_for_the_parent(descriptor):
        if os.path.samestat(os.fstat(descriptor), tmp_path.stat()):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_for_the_parent)
    with pytest.raises(StorageError, match=r"is complete and can be opened.*Input/output error"):
        Index.build(new, tmp_path / "i.nv", overwrite=overwrite)
    assert (Index.open(tmp_path / "i.nv", verify=True).vectors == new).all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["i.nv"]
