"""Output of commands: tables and JSON on standard output, notes on standard error."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

Align = Literal["left", "right"]
Columns = Mapping[str, Align]
"""Column names, in order, and how their cells are aligned."""


def print_json(value: Any) -> None:
    """One JSON object, readable by people too."""
    print(as_json(value, indent=2))


def short_path(path: Path) -> Path:
    """Shorten a path inside the current folder to what a person would type."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def as_json(value: Any, indent: int) -> str:
    """Write a value as JSON text; null for infinite and undefined numbers, which JSON lacks."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(columns: Columns, rows: Sequence[Sequence[str]]) -> None:
    """A table with rules and colours on a terminal; aligned plain text elsewhere."""
    console = Console(highlight=False)
    if not console.is_terminal:
        _print_plain(columns, rows)
        return
    table = Table(box=SIMPLE_HEAD, header_style="bold")
    for name, align in columns.items():
        # Figures stay on one line; what does not fit is taken from the texts.
        table.add_column(name, justify=align, no_wrap=align == "right", overflow="fold")
    for row in rows:
        table.add_row(*map(_escape, row))
    console.print(table)


def _print_plain(columns: Columns, rows: Sequence[Sequence[str]]) -> None:
    lines = [list(columns), *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        cells = (
            cell.rjust(width) if align == "right" else cell.ljust(width)
            for cell, width, align in zip(line, widths, columns.values(), strict=True)
        )
        print("  ".join(cells).rstrip())


def print_facts(facts: Mapping[str, str]) -> None:
    """Names and values, one a line."""
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name.ljust(width)}  {value}")


def note(text: str) -> None:
    """A line on standard error: for people, not part of the answer."""
    print(text, file=sys.stderr)


def size(count: float | int) -> str:
    """A number of bytes for people: 1,536 B, 5.9 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 10_000 or unit == "GiB":
            break
        count /= 1024
    return f"{count:,.0f} {unit}" if unit == "B" or count >= 100 else f"{count:,.1f} {unit}"


def shorten(text: str, length: int) -> str:
    """The text on one line, cut at `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
