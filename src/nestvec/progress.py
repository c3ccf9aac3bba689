"""Progress of long work: a bar on a terminal, silence elsewhere.

The library never prints. Commands pass `bar`; other callers pass nothing, which means `silent`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int], None]
"""A function that is called with the number of items just finished."""

Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""A function of a description and a total; the context that it returns gives an `Advance`."""


@contextmanager
def silent(description: str, total: int) -> Iterator[Advance]:
    """Show nothing: the default."""
    yield lambda _: None


@contextmanager
def bar(description: str, total: int) -> Iterator[Advance]:
    """Show a progress bar on standard error; nothing when that is not a terminal."""
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
        yield lambda _: None
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
