"""The page of what people bring in and what happens with it, from the tests that hold it so."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_TITLE = "# Inputs and what becomes of them\n"
_LEAD = (
    "Each line is held by a test: the left column is a property of what people bring, from files "
    "and tables to servers, and the right one is what happens.\n"
)


class Door(NamedTuple):
    """One property of an input, and what happens with it."""

    area: str
    input: str
    result: str


def page(tests: Path) -> str:
    """Write a table for each file of tests that has marks `door(property, result)`."""
    areas: dict[str, list[Door]] = {}
    for door in read(tests):
        areas.setdefault(door.area, []).append(door)
    parts = [_TITLE, _LEAD]
    for area, doors in areas.items():
        rows = "".join(f"| {_cell(door.input)} | {_cell(door.result)} |\n" for door in doors)
        parts.append(f"## {area}\n\n| input | result |\n|---|---|\n{rows}")
    return "\n".join(parts)


def read(tests: Path) -> Iterator[Door]:
    """Read the marks of all test files below a folder, each once, in the order of the files."""
    for path in sorted(tests.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        area = (ast.get_docstring(tree) or path.stem).splitlines()[0].rstrip(".:")
        marks = (_marks(node) for node in ast.walk(tree) if isinstance(node, ast.Call))
        yield from dict.fromkeys(Door(area, *mark) for mark in marks if mark is not None)


def _marks(call: ast.Call) -> tuple[str, str] | None:
    match call:
        case ast.Call(
            func=ast.Attribute(attr="door"),
            args=[ast.Constant(value=str() as input_), ast.Constant(value=str() as result)],
        ):
            return input_, result
    return None


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
