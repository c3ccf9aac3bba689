"""Threads of the project: this module creates every pool that computes something.

For NumPy and compiled kernels, which do not hold Python's lock. `threads` is the number of threads,
or None for one per core. No result may depend on it: work is divided into blocks whose size does
not depend on the number of threads, or into rows that are computed independently of each other.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, pairwise
from typing import TypeVar

import numpy as np

from nestvec.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 4
"""Results per thread that `map_ordered` computes in advance."""


def check_threads(threads: int | None) -> None:
    """Raise `InputError` unless `threads` is at least 1, or None for one per core."""
    if threads is None:
        return
    if isinstance(threads, bool) or not isinstance(threads, int | np.integer) or threads < 1:
        raise InputError(
            f"threads={threads!r} is not a whole number of at least 1; use one, or None for all "
            "cores"
        )


def thread_count(threads: int | None = None) -> int:
    """Return `threads`, or for None the number of cores that this process may use."""
    return threads or _usable_cores()


def _usable_cores() -> int:
    # os.process_cpu_count came with Python 3.13; macOS and Windows pin no process to cores.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_all(function: Callable[[T], R], items: Iterable[T], threads: int | None = None) -> list[R]:
    """Return `function(item)` for every item, in the order of the items."""
    with ThreadPoolExecutor(thread_count(threads)) as pool:
        return [*pool.map(function, items)]


def map_ordered(
    function: Callable[[T], R], items: Iterable[T], threads: int | None = None
) -> Iterator[tuple[T, R]]:
    """Yield each item with `function(item)`, in the order of the items.

    At most four results per thread wait in memory, however many items there are.
    """
    workers, remaining = thread_count(threads), iter(items)
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(remaining, _AHEAD * workers)):
            yield from zip(batch, pool.map(function, batch), strict=True)


def map_blocks(
    function: Callable[[slice], None], n: int, block_rows: int, threads: int | None = None
) -> None:
    """Call `function` on slices of `block_rows` rows of `n`, the last one shorter."""
    blocks = [slice(row, min(row + block_rows, n)) for row in range(0, n, block_rows)]
    map_all(function, blocks, threads)


def run_in_slices(
    function: Callable[..., None], arrays: tuple[np.ndarray, ...], threads: int | None = None
) -> None:
    """Call `function` on slices of the arrays, which have equally many rows: one per thread.

    For what treats each row by itself and writes into the arrays. The caller's thread does the work
    where there is one row or one thread.
    """
    rows = len(arrays[0])
    # A single query is the commonest batch and not worth counting the cores for.
    workers = 1 if rows < 2 else min(thread_count(threads), rows)
    if workers == 1:
        function(*arrays)
        return
    bounds = [rows * i // workers for i in range(workers + 1)]
    slices = [[array[a:b] for a, b in pairwise(bounds)] for array in arrays]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(function, *slices))


def overlap(items: Iterable[T], consume: Callable[[T], R]) -> Iterator[R]:
    """Yield `consume(item)` for each item, while the iterable computes the next item.

    `consume` runs on another thread, one item at a time; at most two items exist at once.
    """
    with ThreadPoolExecutor(1) as pool:
        running: Future[R] | None = None
        for item in items:
            if running is not None:
                yield running.result()
            running = pool.submit(consume, item)
        if running is not None:
            yield running.result()
