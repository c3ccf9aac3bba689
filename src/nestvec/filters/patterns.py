"""Patterns of `like`: `%` stands for any text and `_` for one character, as in SQL.

A backslash takes `%`, `_` or itself literally. Three translations of one pattern mean the same: a
regular expression defines it, and SQLite's GLOB (case matters) and LIKE (it does not) search by it.
"""

import re
from collections.abc import Iterator
from typing import Literal

MAX_CHARS = 1000
"""Characters of a pattern: SQLite takes no more than 50,000 bytes."""
MAX_WILDCARDS = 10
"""`%` of a pattern: a match takes longer with each of them."""
_ASCII_LOWER = {ord(upper): ord(upper) + 32 for upper in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}

Part = tuple[Literal["text", "any", "one"], str]


def matches_pattern(pattern: str, text: str, ignore_case: bool) -> bool:
    """Tell whether the whole text fits; `ignore_case` makes A to Z equal to a to z alone."""
    if ignore_case:
        pattern, text = pattern.translate(_ASCII_LOWER), text.translate(_ASCII_LOWER)
    signs = {"any": ".*", "one": "."}
    regex = "".join(signs.get(kind) or re.escape(part) for kind, part in _parts(pattern))
    return re.fullmatch(regex, text, re.DOTALL) is not None


def to_glob(pattern: str) -> str:
    """Translate to SQLite's GLOB, in which brackets take a sign literally."""
    signs = {"any": "*", "one": "?"}
    return "".join(
        signs.get(kind) or (f"[{part}]" if part in "*?[" else part)
        for kind, part in _parts(pattern)
    )


def to_like(pattern: str) -> str:
    r"""Translate to SQLite's LIKE with ESCAPE '\'."""
    signs = {"any": "%", "one": "_"}
    return "".join(
        signs.get(kind) or (f"\\{part}" if part in "%_\\" else part)
        for kind, part in _parts(pattern)
    )


def count_wildcards(pattern: str) -> int:
    """Count the `%` of a pattern that stand for any text."""
    return sum(kind == "any" for kind, _ in _parts(pattern))


def is_complete(pattern: str) -> bool:
    """Tell whether a character follows each backslash that takes one literally."""
    return re.fullmatch(r"(?:[^\\]|\\.)*", pattern, re.DOTALL) is not None


def _parts(pattern: str) -> Iterator[Part]:
    for match in re.finditer(r"\\(.)|(.)", pattern, re.DOTALL):
        if match[2] == "%":
            yield "any", ""
        elif match[2] == "_":
            yield "one", ""
        else:
            yield "text", match[1] or match[2]
