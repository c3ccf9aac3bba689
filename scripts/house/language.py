"""Docstring openings, stop words as names, and private words.

- A docstring of any module, class or function, private ones too, opens badly when its first word
  is one of `OPENINGS`. At most 3 % may, and no module docstring.
- A name is a bare stop word when the whole of it, with outer `_` stripped, is on the list in any
  case: `given` is, `given_dims` is not. Allowed places count as names and not as stop words.
- A private word counts each time it is a word of a bound name or stands in a docstring.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

from scripts.house.figure import Figure, count, share
from scripts.house.source import Binding, Module, bindings, definitions
from scripts.house.words import (
    ALLOWANCES,
    ENGLISH_STOP_WORDS,
    LONGER_LIST,
    MAX_OPENINGS,
    MAX_STOP_WORD_NAMES,
    OPENINGS,
    PRIVATE_WORDS,
    STOP_WORDS,
    word_pattern,
)

Docstring = tuple[Module, int, str, str]
"""Module, line, name of what it documents ("" for the module) and the text."""


@cache
def docstrings(module: Module) -> tuple[Docstring, ...]:
    """Docstrings of the module and of everything that it defines."""
    return tuple(_docstrings(module))


def _docstrings(module: Module) -> Iterator[Docstring]:
    nodes = [
        ("", module.tree),
        *((definition.qualname, definition.node) for definition in definitions(module)),
    ]
    for name, node in nodes:
        text = ast.get_docstring(node)
        if text is not None:
            yield module, node.body[0].lineno, name, text


def opens_with_a_clause(text: str) -> bool:
    """Check that the first word of a docstring is one of `OPENINGS`."""
    first = re.match(r"\W*(\w+)", text)
    return first is not None and first[1] in OPENINGS


def docstring_figures(modules: list[Module]) -> list[Figure]:
    """Share of docstrings that open with What, How, Where, …: of all, and of modules."""
    texts = [text for module in modules for text in docstrings(module)]
    bad = [text for text in texts if opens_with_a_clause(text[3])]
    heads = [text for text in texts if not text[2]]
    return [
        share(
            "docstring_openings",
            "docstrings that open with What, How, Where, …",
            [_shown(text) for text in bad],
            len(texts),
            MAX_OPENINGS,
        ),
        share(
            "module_docstring_openings",
            "module docstrings that do",
            [_shown(text) for text in bad if not text[2]],
            len(heads),
            0,
        ),
    ]


def _shown(docstring: Docstring) -> str:
    module, line, name, text = docstring
    return f"{module.link(line)} {name or 'module'}: {text.splitlines()[0]}"


def name_figures(modules: list[Module]) -> list[Figure]:
    """Share of bound names that are bare stop words: the list with a limit, then wider ones."""
    names = [name for module in modules for name in bindings(module)]
    lists = [
        ("stop_word_names", "bound names that are bare stop words", STOP_WORDS),
        ("english_stop_word_names", "… by the English list alone", ENGLISH_STOP_WORDS),
        ("longer_list_names", "… by the longer list", LONGER_LIST),
    ]
    return [
        share(
            key,
            title,
            [f"{name.module.link(name.line)} {name.place}" for name in bare_words(names, words)],
            len(names),
            MAX_STOP_WORD_NAMES if words is STOP_WORDS else None,
        )
        for key, title, words in lists
    ]


def bare_words(names: list[Binding], words: frozenset[str]) -> list[Binding]:
    """Names that are one of `words`, less the allowed places."""
    return [
        name
        for name in names
        if name.name.lower() in words
        and not any(allowance.covers(name.place) for allowance in ALLOWANCES)
    ]


def private_word_figures(modules: list[Module]) -> list[Figure]:
    """Number of private words left in names and in docstrings."""
    places = [uses for word in PRIVATE_WORDS for uses in word_uses(modules, word)]
    return [
        count(
            f"private_words_in_{kind}",
            f"private words in {kind}",
            [p for k, _, p in places if k == kind],
        )
        for kind in ("names", "docstrings")
    ]


def word_uses(modules: list[Module], word: str) -> list[tuple[str, Module, str]]:
    """Uses of a word as (`"names"` or `"docstrings"`, module, place)."""
    pattern = word_pattern(word)
    uses = []
    for module in modules:
        for name in bindings(module):
            for _ in pattern.finditer(spaced(name.name)):
                uses.append(("names", module, f"{module.link(name.line)} {name.place}"))
        for _, line, owner, text in docstrings(module):
            for hit in pattern.finditer(text):
                row = line + text.count("\n", 0, hit.start())
                shown = text.splitlines()[row - line].strip()
                uses.append(
                    ("docstrings", module, f"{module.link(row)} {owner or 'module'}: {shown}")
                )
    return uses


def spaced(name: str) -> str:
    """Words of an identifier with spaces between: `NearMiss` and `near_miss` give `near miss`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name).lower()


def words_by_package(modules: list[Module]) -> dict[str, dict[str, dict[str, int]]]:
    """Uses of each private word by package: `{word: {package: {"names": 3, "docstrings": 1}}}`."""
    table: dict[str, dict[str, dict[str, int]]] = {}
    for word in PRIVATE_WORDS:
        packages: dict[str, Counter[str]] = {}
        for kind, module, _ in word_uses(modules, word):
            packages.setdefault(module.package, Counter())[kind] += 1
        table[word] = {name: dict(packages[name]) for name in sorted(packages)}
    return table


def language_by_package(modules: list[Module]) -> dict[str, dict[str, Any]]:
    """Shares of each package, and of the whole under "all"."""
    groups: dict[str, list[Module]] = {"all": modules}
    for module in modules:
        groups.setdefault(module.package, []).append(module)
    return {
        name: {
            "modules": len(group),
            **{
                figure.key: round(figure.value, 6)
                for figure in docstring_figures(group) + name_figures(group)
            },
        }
        for name, group in sorted(groups.items())
    }
