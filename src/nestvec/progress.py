"""Progress of long work: a bar on a terminal, a line now and then elsewhere.

The library never prints. Commands pass `bar`; other callers pass nothing, which means `silent`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int], None]
"""A function that is called with the number of items just finished."""

_SECONDS_BETWEEN_LINES = 30.0

Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""A function of a description and a total; the context that it returns gives an `Advance`."""


@contextmanager
def silent(description: str, total: int) -> Iterator[Advance]:
    """Show nothing: the default."""
    yield lambda _: None


@contextmanager
def bar(description: str, total: int) -> Iterator[Advance]:
    """Show a bar on standard error, or where that is no terminal, a line from time to time."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(description, total, lambda line: console.print(line, highlight=False))
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(description, total=total)
        yield lambda count: progress.advance(task, count)


def _lines(
    description: str,
    total: int,
    write: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> Advance:
    """Write a line each half minute: "Encoding: 1,200 of 5,000 (24%), 95 s left"."""
    start = last_line = clock()
    finished = 0

    def advance(count: int) -> None:
        nonlocal finished, last_line
        finished += count
        now = clock()
        if now - last_line < _SECONDS_BETWEEN_LINES or not finished:
            return
        last_line = now
        left = max(0.0, (now - start) * (total / finished - 1))
        write(
            f"{description}: {finished:,} of {total:,} ({finished / max(1, total):.0%}), "
            f"{left:,.0f} s left"
        )

    return advance
