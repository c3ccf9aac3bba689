"""Build and search under a memory limit that is smaller than the vectors; peaks of both.

    python -m benchmarks.memory [--rows 250000 1000000] [--dim 256] [--limit-mb 512]

Each runs in a process of its own. Anonymous memory is what counts: pages of mapped files can be
dropped by the system at any time, and before the search it has dropped them all.

Where the limit is less than the vectors, it is set as RLIMIT_DATA once the kernels are loaded (0:
never): the system then refuses any private writable memory beyond, libraries, heap and stacks
included. (RLIMIT_AS, `ulimit -v`, counts the addresses of all maps, so that nothing larger can be
mapped at all. A memory cgroup counts pages, cached ones too, and drops these under pressure:
`systemd-run --scope -p MemoryMax=768M python -m benchmarks.memory`.)

The vectors are synthetic (a power-law spectrum); memory does not depend on their values. Writes
`results/memory.json`; `peak_mb` is anonymous memory beyond what Python, NumPy and the kernels take.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

RESULT = Path(__file__).parent / "results" / "memory.json"
QUERIES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[250_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--limit-mb", type=int, default=512)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        task, path = options.run
        run(TASKS[task], Path(path), options.limit_mb)
        return
    results = []
    for rows in options.rows:
        vector_mb = rows * options.dim * 4 / 1e6
        limit = options.limit_mb if options.limit_mb < vector_mb else 0
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "vectors.npy"
            write_vectors(path, rows, options.dim)
            built, searched = (in_a_process(task, path, limit) for task in TASKS)
        results.append({"rows": rows, "vector_mb": vector_mb, "limit_mb": limit or None})
        results[-1] |= {**built, "search": searched}
        print(results[-1])
    RESULT.write_text(json.dumps({"dim": options.dim, "builds": results}, indent=1) + "\n")


def write_vectors(path: Path, rows: int, dim: int) -> None:
    array = np.lib.format.open_memmap(path, "w+", np.float32, (rows, dim))
    rng = np.random.default_rng(0)
    spread = np.arange(1, dim + 1) ** -0.6
    for first in range(0, rows, 50_000):
        block = rng.standard_normal((min(50_000, rows - first), dim)) * spread
        array[first : first + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)


def in_a_process(task: str, path: Path, limit_mb: int) -> dict[str, object]:
    command = [sys.executable, __file__, "--run", task, str(path), "--limit-mb", str(limit_mb)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def run(task: Callable[[Path], dict[str, object]], path: Path, limit_mb: int) -> None:
    """The task under the limit (0: none), and its peak."""
    from nestvec.kernels import load

    load()
    if limit_mb:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_mb * 10**6,) * 2)
    with peaks() as peak:
        measured = task(path)
    print(json.dumps({**peak, **measured}))


def build(path: Path) -> dict[str, object]:
    import nestvec as nv

    vectors = np.load(path, mmap_mode="r")
    start = time.perf_counter()
    nv.Index.build(vectors, path.with_suffix(".nv"))
    return {"build_s": round(time.perf_counter() - start, 1)}


def search(path: Path) -> dict[str, object]:
    """Rows of the corpus, moved a little, by the default plan: first from disk, then again."""
    import nestvec as nv

    index = nv.Index.open(path.with_suffix(".nv"))
    vectors = np.load(path, mmap_mode="r")
    rng = np.random.default_rng(1)
    queries = vectors[rng.choice(len(vectors), QUERIES, replace=False)]
    queries = nv.truncate(queries + 0.02 * rng.standard_normal(queries.shape), queries.shape[1])
    for file in index.path.iterdir():
        drop_from_cache(file)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        index.search(queries.astype(np.float32), 10)
        seconds.append(round(time.perf_counter() - start, 3))
    return {"queries": QUERIES, "from_disk_s": seconds[0], "cached_s": seconds[1]}


TASKS = {"build": build, "search": search}


def drop_from_cache(path: Path) -> None:
    """Let go of the pages that this and other processes have read."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def peaks() -> Iterator[dict[str, float]]:
    """Filled at the end: MB of anonymous memory added, and all that RLIMIT_DATA counts."""
    peak: dict[str, float] = {}
    before = status_mb("RssAnon")
    highest = {"RssAnon": 0.0, "VmData": 0.0}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            for name in highest:
                highest[name] = max(highest[name], status_mb(name))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()
    peak |= {"peak_mb": round(highest["RssAnon"] - before, 1), "data_mb": round(highest["VmData"])}


def status_mb(name: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main()
