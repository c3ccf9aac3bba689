"""A progress bar on a terminal, silence elsewhere.

The library never prints. A command passes `bar`; everything else passes nothing and gets `silent`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int], None]
"""Call with the number of items just finished."""

Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Call with a description and the total; enter it; advance."""


@contextmanager
def silent(description: str, total: int) -> Iterator[Advance]:
    """The default: no output at all."""
    yield lambda _: None


@contextmanager
def bar(description: str, total: int) -> Iterator[Advance]:
    """A rich progress bar on standard error; nothing when standard error is not a terminal."""
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
