"""Standard input: lines of a pipe or file, a terminal with a person before it, or closed."""

import sys

from nestvec.errors import InputError


def is_terminal() -> bool:
    """Tell whether a person may type; False where standard input is closed."""
    return sys.stdin is not None and sys.stdin.isatty()


def read_lines(wanted: str) -> list[str]:
    """Read the lines that hold anything; `InputError` where standard input is closed.

    `wanted` says what to pass as arguments instead.
    """
    if sys.stdin is None:
        raise InputError(f"standard input is closed; pass {wanted} as arguments")
    lines = [line.rstrip("\r\n") for line in sys.stdin if line.strip()]
    # Editors of Windows begin a file with a byte order mark, which is no part of its first line.
    return [lines[0].removeprefix("\ufeff"), *lines[1:]] if lines else []
