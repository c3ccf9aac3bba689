"""Conditions on a row's id, text and metadata: what they mean, and the SQL that finds the rows.

A condition is true or false of every row, never unknown: a field that a row lacks is null, `!=` is
exactly what `=` is not, and values of different kinds are never equal and have no order. `matches`
defines it; `to_sql` is tested equal to it. docs/reference/filters.md tells it to users.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nestvec.documents import Document

Scalar = None | bool | int | float | str
Operator = Literal["<", "<=", ">", ">="]
Kind = Literal["null", "true", "false", "number", "text", "array", "object"]


@dataclass(frozen=True, slots=True)
class Field:
    """The row's own `id` or `text`, or what `path` leads to within its `metadata`."""

    column: Literal["id", "text", "metadata"]
    path: tuple[str, ...] = ()

    def of(self, document: Document) -> Any:
        """The value in a row, None where it has none."""
        if self.column != "metadata":
            return getattr(document, self.column)
        value: Any = document.metadata
        for name in self.path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field equals one of the values; a missing field equals null."""

    field: Field
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """The field is of the value's kind, number or text, and before or after it.

    Texts are in the order of their code points.
    """

    field: Field
    operator: Operator
    value: int | float | str


@dataclass(frozen=True, slots=True)
class Contains:
    """The field is a list, and one of its items equals the value."""

    field: Field
    value: Scalar


@dataclass(frozen=True, slots=True)
class Not:
    """The condition is false."""

    condition: "Condition"


@dataclass(frozen=True, slots=True)
class And:
    """All conditions are true."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one condition is true."""

    conditions: tuple["Condition", ...]


Condition = OneOf | Order | Contains | Not | And | Or


def kind(value: Any) -> Kind:
    """What JSON calls the value; whole and other numbers are one kind."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "object" if isinstance(value, Mapping) else "array"


def as_number(value: int | float) -> int | float:
    """A number as SQLite has it: whole ones beyond 64 bits become floats."""
    if isinstance(value, float) or -(2**63) <= value < 2**63:
        return value
    return float(str(value))  # unlike float(value), infinity rather than an error


# --- the definition ------------------------------------------------------------------------------


def matches(condition: Condition, document: Document) -> bool:
    """Whether the condition is true of a row."""
    match condition:
        case OneOf(field, values):
            return any(_equal(field.of(document), value) for value in values)
        case Order(field, operator, value):
            return _ordered(field.of(document), operator, value)
        case Contains(field, value):
            items = field.of(document)
            return kind(items) == "array" and any(_equal(item, value) for item in items)
        case Not(inner):
            return not matches(inner, document)
        case And(conditions):
            return all(matches(inner, document) for inner in conditions)
        case Or(conditions):
            return any(matches(inner, document) for inner in conditions)


def _equal(found: Any, value: Scalar) -> bool:
    if kind(found) != kind(value):
        return False
    return bool(as_number(found) == value if kind(value) == "number" else found == value)


def _ordered(found: Any, operator: Operator, value: Any) -> bool:
    if kind(found) != kind(value):
        return False
    left = as_number(found) if kind(value) == "number" else found
    match operator:
        case "<":
            return bool(left < value)
        case "<=":
            return bool(left <= value)
        case ">":
            return bool(left > value)
        case ">=":
            return bool(left >= value)


# --- SQL -----------------------------------------------------------------------------------------

_KINDS: Mapping[Kind, str] = {
    "null": "{} IS NULL OR {} = 'null'",
    "true": "{} = 'true'",
    "false": "{} = 'false'",
    "number": "{} IN ('integer', 'real')",
    "text": "{} = 'text'",
    "array": "{} = 'array'",
}
"""How SQLite's json_type, and typeof for plain columns, tell a kind."""


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL over a row of the table `rows`, and what its question marks stand for.

    The text is made of constants of this file alone: names and values of the caller, whatever is
    in them, are parameters.
    """

    text: str
    parameters: tuple[int | float | str, ...] = ()

    def __add__(self, other: "Sql | str") -> "Sql":
        added = Sql(other) if isinstance(other, str) else other
        return Sql(self.text + added.text, self.parameters + added.parameters)


def to_sql(condition: Condition) -> Sql:
    """An expression that is 1 where the condition is true of a row, else 0 (never NULL)."""
    match condition:
        case OneOf(field, values):
            return _one_of(_kind_of(field), _value_of(field), values)
        case Order(field, operator, value):
            ordered = _value_of(field) + f" {operator} " + Sql("?", (value,))
            return _true(_all([_is(_kind_of(field), kind(value)), ordered]))
        case Contains(field, value):
            item = _one_of(Sql("item.type"), Sql("item.value"), (value,))
            items = Sql("EXISTS (SELECT 1 FROM json_each(rows.metadata, ?) AS item WHERE ")
            found = Sql(items.text, (_json_path(field),)) + item + ")"
            return _true(_all([_is(_kind_of(field), "array"), found]))
        case Not(inner):
            return Sql("(NOT ") + to_sql(inner) + ")"
        case And(conditions):
            return _all(map(to_sql, conditions))
        case Or(conditions):
            return _any(map(to_sql, conditions))


def _one_of(found_kind: Sql, found: Sql, values: Sequence[Scalar]) -> Sql:
    tests = []
    for each in dict.fromkeys(map(kind, values)):
        test = _is(found_kind, each)
        if each in ("number", "text"):
            test = _all([test, found + _among([v for v in values if kind(v) == each])])
        tests.append(test)
    return _true(_any(tests))


def _among(values: list[Any]) -> Sql:
    if len(values) == 1:
        return Sql(" = ?", (values[0],))
    # One parameter however many values there are: SQLite allows no more than some thousand.
    return Sql(" IN (SELECT value FROM json_each(?))", (json.dumps(values),))


def _is(found_kind: Sql, wanted: Kind) -> Sql:
    template = _KINDS[wanted]
    text = template.format(*[found_kind.text] * template.count("{}"))
    return Sql(f"({text})", found_kind.parameters * template.count("{}"))


def _kind_of(field: Field) -> Sql:
    if field.column == "metadata":
        return Sql("json_type(rows.metadata, ?)", (_json_path(field),))
    return Sql(f"typeof(rows.{field.column})")


def _value_of(field: Field) -> Sql:
    if field.column == "metadata":
        return Sql("json_extract(rows.metadata, ?)", (_json_path(field),))
    return Sql(f"rows.{field.column}")


def _json_path(field: Field) -> str:
    # SQLite before 3.45 compares names as they are spelled, so they are spelled as json.dumps
    # does when rows are stored.
    return "$" + "".join("." + json.dumps(name) for name in field.path)


def _all(parts: Iterable[Sql]) -> Sql:
    return _joined(" AND ", parts)


def _any(parts: Iterable[Sql]) -> Sql:
    return _joined(" OR ", parts)


def _joined(word: str, parts: Iterable[Sql]) -> Sql:
    pieces = list(parts)
    text = word.join(piece.text for piece in pieces)
    return Sql(f"({text})", tuple(p for piece in pieces for p in piece.parameters))


def _true(test: Sql) -> Sql:
    return Sql("ifnull(") + test + ", 0)"
