"""Warnings about fields of a filter that no row has, or never with a value of the tested kind.

A misspelt field is null in every row, so a filter on it matches nothing, or everything. The caller
may intend that, so it is no error but a warning, which lists the fields of the index.
"""

import logging
import sqlite3
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import chain

from nestvec.filters.ast import (
    And,
    Condition,
    Contains,
    Field,
    Kind,
    Not,
    OneOf,
    Or,
    Order,
    TextTest,
    kind,
)
from nestvec.filters.sqlite import json_path

_MAX_ROWS = 1000
"""Rows whose fields are listed in a message."""
_MAX_FIELDS = 12
_SQLITE_KINDS: dict[Kind, tuple[str, ...]] = {
    "null": ("null",), "true": ("true", "false"), "false": ("true", "false"),
    "number": ("integer", "real"), "text": ("text",), "array": ("array",), "object": ("object",),
}  # fmt: skip
_PLURALS = {
    "null": "null", "true": "true or false", "false": "true or false", "integer": "numbers",
    "real": "numbers", "text": "texts", "array": "lists", "object": "objects",
}  # fmt: skip

_log = logging.getLogger("nestvec.index")


def warn_of_unknown_fields(db: sqlite3.Connection, condition: Condition, where: str) -> None:
    """Log a warning for each field of a filter that does not fit the metadata of any row."""
    kinds: dict[Field, set[Kind]] = {}
    for field, tested in _tested_kinds(condition):
        kinds.setdefault(field, set()).update(tested)
    for field, tested in kinds.items():
        if field.column != "metadata":
            continue
        sqlite_kinds = {name for kind_ in tested for name in _SQLITE_KINDS[kind_]} - {"null"}
        if not _has_row(db, field, sorted(sqlite_kinds)):
            _log.warning("the filter %r: %s", where, _problem(db, field, sqlite_kinds))


def _tested_kinds(condition: Condition) -> Iterator[tuple[Field, set[Kind]]]:
    """Yield fields with the kinds of values of which a test can be true; of null, none."""
    match condition:
        case OneOf(field, values):
            yield field, {kind(value) for value in values}
        case Order(field, _, value):
            yield field, {kind(value)}
        case Contains(field, _):
            yield field, {"array"}
        case TextTest(field):
            yield field, {"text"}
        case Not(inner):
            yield from _tested_kinds(inner)
        case And(parts) | Or(parts):
            yield from chain.from_iterable(map(_tested_kinds, parts))


def _has_row(db: sqlite3.Connection, field: Field, kinds: list[str]) -> bool:
    """Tell whether a row has the field, of one of the kinds if there are any."""
    test = f"IN ({', '.join('?' * len(kinds))})" if kinds else "IS NOT NULL"
    query = f"SELECT 1 FROM rows WHERE json_type(metadata, ?) {test} LIMIT 1"
    return db.execute(query, (json_path(field), *kinds)).fetchone() is not None


def _problem(db: sqlite3.Connection, field: Field, kinds: set[str]) -> str:
    name = ".".join(field.path)
    query = (
        "SELECT DISTINCT json_type(metadata, ?) FROM rows WHERE json_type(metadata, ?) IS NOT NULL"
    )
    stored_kinds = [kind_ for (kind_,) in db.execute(query, (json_path(field), json_path(field)))]
    if stored_kinds:
        tested, stored = (" and ".join(_names(names)) for names in (kinds, stored_kinds))
        return f"{name} is compared with {tested}, and the rows have {stored} there"
    fields = _fields(db)
    if not fields:
        return f"no row has a field {name}, because no row has metadata"
    close = get_close_matches(name, fields, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    listed = ", ".join(fields[:_MAX_FIELDS]) + (", …" if len(fields) > _MAX_FIELDS else "")
    return f"no row has a field {name}{hint}; the fields are {listed}"


def _names(kinds: set[str] | list[str]) -> list[str]:
    return sorted({_PLURALS[name] for name in kinds})


def _fields(db: sqlite3.Connection) -> list[str]:
    """List the fields of the first rows with metadata, by name."""
    query = (
        "SELECT DISTINCT key FROM (SELECT metadata FROM rows WHERE metadata IS NOT NULL LIMIT ?) "
        "AS some, json_each(some.metadata) ORDER BY key"
    )
    return [name for (name,) in db.execute(query, (_MAX_ROWS,))]
