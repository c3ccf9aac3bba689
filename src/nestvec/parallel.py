"""Work shared out over all cores, by threads: for what NumPy does without holding Python's lock."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def on_all_cores(run: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """What `run` makes of every item, in their order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [*pool.map(run, items)]


def each_block(run: Callable[[slice], None], n: int, rows: int) -> None:
    """`run` on every `rows` of `n` rows; the blocks do not depend on how many cores there are."""
    on_all_cores(run, [slice(first, first + rows) for first in range(0, n, rows)])
