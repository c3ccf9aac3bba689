"""Kills a writer at random moments and looks at what it leaves: `kill.py FOLDER ROUNDS SEED`.

Each round forks a writer, which builds, adds, deletes, updates and compacts until it is killed, and
says before each change what it is about to do and after it that it is done. Then the index must
hold what the last finished change left, or the one begun, to the last bit; and be written to again.
Ends with an error at the first round where that is not so; else prints how many changes of each
kind were cut off.
"""

import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from nestvec import Index

DIM = 8
KINDS = ("build", "add", "delete", "update", "compact")
MOST_S = 0.25
"""A writer lives at most so long."""


def vector(id_, version):
    """What a row with this id holds: anything else is not what was written."""
    return (np.arange(DIM) * (id_ + 1) * 31 + version * 17) % 23 - 11.0


def given(rows):
    """Arguments for rows of [id, version]."""
    vectors = np.array([vector(*row) for row in rows], np.float32).reshape(-1, DIM)
    ids = [id_ for id_, _ in rows]
    texts = [f"{id_} in version {version}" for id_, version in rows]
    return vectors, {"ids": ids, "texts": texts, "metadata": [{"v": v} for _, v in rows]}


def next_change(rows, rng, fresh, focus):
    """A change at random, often a `focus`: its kind and the rows, or ids, that it is made with."""
    ids = [id_ for id_, _ in rows]
    some = [id_ for id_ in ids if rng.random() < rng.choice([0.01, 0.3])]
    kind = focus if rng.random() < 0.6 else rng.choice(KINDS)
    if kind in ("build", "add"):
        count = int(rng.choice([1, 20, 400, 5000], p=[0.3, 0.4, 0.2, 0.1]))
        return kind, [[fresh + i, 0] for i in range(count)]
    if kind == "update":
        return kind, [[id_, int(rng.integers(1, 1000))] for id_ in some]
    return kind, some if kind == "delete" else []


def after(rows, kind, change):
    """The rows of an index that held `rows`, in order."""
    if kind == "build":
        return change
    gone = (
        {id_ for id_, _ in change} if kind == "update" else set(change) if kind == "delete" else ()
    )
    left = [row for row in rows if row[0] not in gone]
    return left + change if kind in ("add", "update") else left


def make(index, kind, change, path):
    """Make the change."""
    if kind == "build":
        vectors, options = given(change)
        return Index.build(vectors, path, overwrite=True, **options)
    if kind == "delete":
        index.delete(change)
    elif kind == "compact":
        index.compact()
    else:
        vectors, options = given(change)
        (index.add if kind == "add" else index.update)(vectors, **options)
    return index


def write_until_killed(path, rows, rng, fresh, focus, log):
    index = Index.open(path)
    while True:
        kind, change = next_change(rows, rng, fresh, focus)
        fresh += len(change)
        os.write(log, json.dumps(["begin", kind, change]).encode() + b"\n")
        index = make(index, kind, change, path)
        rows = after(rows, kind, change)
        os.write(log, b'["done"]\n')


def holds(index, rows):
    """Whether the index holds these rows, and nothing else, to the last bit."""
    vectors, options = given(rows)
    if index.ids.tolist() != options["ids"] or not (index.vectors == vectors).all():
        return False
    numbers = index.snapshot.numbers()
    assert [d.text for d in index.snapshot.documents(numbers)] == options["texts"], "other texts"
    return True


def run_round(path, rows, rng, fresh, focus):
    """Fork, kill, look; the rows that the index holds now, and the kind of change cut off."""
    reader, log = os.pipe()
    seed = int(rng.integers(2**31))
    writer = os.fork()
    if writer == 0:
        try:
            os.close(reader)
            write_until_killed(path, rows, np.random.default_rng(seed), fresh, focus, log)
        finally:
            os._exit(1)  # an error in the writer
    os.close(log)
    os.set_blocking(reader, False)
    said, end = b"", time.monotonic() + float(rng.random()) * MOST_S
    while time.monotonic() < end:
        said += read_some(reader)
        time.sleep(0.0005)
    os.kill(writer, signal.SIGKILL)
    _, status = os.waitpid(writer, 0)
    while more := read_some(reader):
        said += more
    os.close(reader)
    assert os.WIFSIGNALED(status), "the writer met an error"
    begun = None
    *lines, _ = said.decode().split("\n")  # a line cut off announces what was never begun
    for line in lines:
        word, *change = json.loads(line)
        if word == "done":
            rows, begun = after(rows, *begun), None
        else:
            begun = change
    index = Index.open(path, verify=True)
    if not holds(index, rows):
        assert begun is not None, "the index lost a commit"
        rows = after(rows, *begun)
        assert holds(index, rows), f"the index holds neither what was before nor after {begun[0]}"
    return rows, begun[0] if begun else None


def read_some(reader):
    try:
        return os.read(reader, 1 << 20)
    except BlockingIOError:
        return b""


def main(folder, rounds, seed):
    """All rounds on one index."""
    rng = np.random.default_rng(seed)
    path = Path(folder) / "i.nv"
    rows = [[i, 0] for i in range(100)]
    make(None, "build", rows, path)
    cut = Counter()
    for number in range(rounds):
        fresh = 10_000_000 * (number + 1)
        rows, kind = run_round(path, rows, rng, fresh, KINDS[number % len(KINDS)])
        cut[kind or "between"] += 1
        new = [[fresh - 1, 7]]
        index = make(Index.open(path), "add", new, path)  # the next write works
        rows = after(rows, "add", new)
        names = {file.name for file in path.iterdir()} - {"catalog.sqlite", "writer.lock"}
        listed = {file.name for part in index.snapshot.parts for file in part.entry.files}
        assert names == listed, f"left behind: {names ^ listed}"
        if len(rows) > 8000:
            rows = [[fresh - 2, 0]]
            make(None, "build", rows, path)
    beside = [file.name for file in Path(folder).iterdir() if file != path]
    make(None, "build", rows, path)
    assert [file.name for file in Path(folder).iterdir()] == [path.name], beside
    sys.stdout.write(json.dumps(cut))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
