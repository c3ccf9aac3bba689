"""SQL of a filter over the table `rows` of an index's catalog."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    Scalar,
    Test,
    TextOperator,
    TextTest,
    kind,
)
from nestvec.filters.patterns import to_glob, to_like

_KINDS: Mapping[Kind, str] = {
    "null": "{} IS NULL OR {} = 'null'",
    "true": "{} = 'true'",
    "false": "{} = 'false'",
    "number": "{} IN ('integer', 'real')",
    "text": "{} = 'text'",
    "array": "{} = 'array'",
}
"""Tests of SQLite's json_type, or typeof for plain columns, by kind."""


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL over a row of the table `rows`, with the values of its question marks.

    The text consists of constants of this file; names and values of the caller are always
    parameters.
    """

    text: str
    parameters: tuple[int | float | str, ...] = ()

    def __add__(self, other: "Sql | str") -> "Sql":
        added = Sql(other) if isinstance(other, str) else other
        return Sql(self.text + added.text, self.parameters + added.parameters)


def to_sql(condition: Condition) -> Sql:
    """Build an expression that is 1 where the condition is true of a row, else 0 (never NULL)."""
    match condition:
        case Not(inner):
            return Sql("(NOT ") + to_sql(inner) + ")"
        case And(conditions):
            return _all(map(to_sql, _deepest_first(conditions)))
        case Or(conditions):
            return _any(map(to_sql, _deepest_first(conditions)))
    return _test(condition)


def _test(condition: Test) -> Sql:
    match condition:
        case OneOf(field, values):
            return _one_of(_kind_of(field), _value_of(field), values)
        case Order(field, operator, value):
            ordered = _value_of(field) + f" {operator} " + Sql("?", (value,))
            return _true(_all([_has_kind(_kind_of(field), kind(value)), ordered]))
        case Contains(field, value):
            item = _one_of(Sql("item.type"), Sql("item.value"), (value,))
            items = Sql("EXISTS (SELECT 1 FROM json_each(rows.metadata, ?) AS item WHERE ")
            value_sql = Sql(items.text, (json_path(field),)) + item + ")"
            return _true(_all([_has_kind(_kind_of(field), "array"), value_sql]))
        case TextTest(field, operator, value):
            test = _text_test(_value_of(field), operator, value)
            return _true(_all([_has_kind(_kind_of(field), "text"), test]))


def _deepest_first(conditions: Sequence[Condition]) -> list[Condition]:
    """Order conditions so that SQLite's parser, whose stack is small, waits with few of them."""
    return sorted(conditions, key=_depth, reverse=True)


def _depth(condition: Condition) -> int:
    match condition:
        case Not(inner):
            return 1 + _depth(inner)
        case And(conditions) | Or(conditions):
            return 1 + max(map(_depth, conditions))
    return 0


def _text_test(value_sql: Sql, operator: TextOperator, value: str) -> Sql:
    match operator:
        case "contains":
            return Sql("(instr(") + value_sql + Sql(", ?) > 0)", (value,))
        case "starts with":
            start = Sql("(substr(") + value_sql + Sql(", 1, length(?))", (value,))
            return start + Sql(" = ?)", (value,))
        case "like":
            return Sql("(") + value_sql + Sql(" GLOB ?)", (to_glob(value),))
        case "ilike":
            return Sql("(") + value_sql + Sql(" LIKE ? ESCAPE '\\')", (to_like(value),))


def _one_of(kind_sql: Sql, value_sql: Sql, values: Sequence[Scalar]) -> Sql:
    tests = []
    for value_kind in dict.fromkeys(map(kind, values)):
        test = _has_kind(kind_sql, value_kind)
        if value_kind in ("number", "text"):
            test = _all(
                [test, value_sql + _in_values([v for v in values if kind(v) == value_kind])]
            )
        tests.append(test)
    return _true(_any(tests))


def _in_values(values: list[Any]) -> Sql:
    if len(values) == 1:
        return Sql(" = ?", (values[0],))
    # One parameter however many values there are: SQLite allows no more than some thousand.
    return Sql(" IN (SELECT value FROM json_each(?))", (json.dumps(values),))


def _has_kind(kind_sql: Sql, expected: Kind) -> Sql:
    template = _KINDS[expected]
    text = template.format(*[kind_sql.text] * template.count("{}"))
    return Sql(f"({text})", kind_sql.parameters * template.count("{}"))


def _kind_of(field: Field) -> Sql:
    if field.column == "metadata":
        return Sql("json_type(rows.metadata, ?)", (json_path(field),))
    return Sql(f"typeof(rows.{field.column})")


def _value_of(field: Field) -> Sql:
    if field.column == "metadata":
        return Sql("json_extract(rows.metadata, ?)", (json_path(field),))
    return Sql(f"rows.{field.column}")


def json_path(field: Field) -> str:
    """Spell the path of a metadata field for SQLite's JSON functions."""
    # SQLite before 3.45 compares names as they are spelled, so they are spelled as json.dumps
    # does when rows are stored.
    return "$" + "".join("." + json.dumps(name) for name in field.path)


def _all(parts: Iterable[Sql]) -> Sql:
    return _join(" AND ", parts)


def _any(parts: Iterable[Sql]) -> Sql:
    return _join(" OR ", parts)


def _join(operator: str, parts: Iterable[Sql]) -> Sql:
    pieces = list(parts)
    text = operator.join(piece.text for piece in pieces)
    return Sql(f"({text})", tuple(p for piece in pieces for p in piece.parameters))


def _true(test: Sql) -> Sql:
    return Sql("ifnull(") + test + ", 0)"
