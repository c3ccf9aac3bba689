"""Syntax tree of a filter: conditions on a row's id, text and metadata.

A condition is true or false of every row, never unknown: a field that a row lacks is null, `!=` is
exactly the opposite of `=`, and values of different kinds are never equal and have no order. The
page on filters explains them to users.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nestvec.documents import Document

Scalar = None | bool | int | float | str
Operator = Literal["<", "<=", ">", ">="]
TextOperator = Literal["contains", "starts with", "like", "ilike"]
Kind = Literal["null", "true", "false", "number", "text", "array", "object"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a row: its `id`, its `text`, or the value at `path` in its `metadata`."""

    column: Literal["id", "text", "metadata"]
    path: tuple[str, ...] = ()

    def value_in(self, document: Document) -> Any:
        """Return the value in a document, None where it has none."""
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
class TextTest:
    """Test that a field is a text which contains, starts with, or matches the value.

    `nestvec.filters.patterns` defines "like"; "ilike" ignores the case of ASCII letters.
    """

    field: Field
    operator: TextOperator
    value: str


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


Test = OneOf | Order | Contains | TextTest
Condition = Test | Not | And | Or


def kind(value: Any) -> Kind:
    """Name the JSON kind of a value; whole and other numbers are one kind."""
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
    """Convert a number as SQLite stores it: integers beyond 64 bits become floats."""
    if isinstance(value, float) or -(2**63) <= value < 2**63:
        return value
    return float(str(value))  # unlike float(value), infinity rather than an error
