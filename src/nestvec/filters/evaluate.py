"""Evaluation of a filter on one document: the definition that the SQL is tested equal to."""

from typing import Any

from nestvec.documents import Document
from nestvec.filters.ast import (
    And,
    Condition,
    Contains,
    Not,
    OneOf,
    Operator,
    Or,
    Order,
    Scalar,
    Test,
    TextOperator,
    TextTest,
    as_number,
    kind,
)
from nestvec.filters.patterns import matches_pattern


def matches(condition: Condition, document: Document) -> bool:
    """Tell whether the condition is true of a document."""
    match condition:
        case Not(inner):
            return not matches(inner, document)
        case And(conditions):
            return all(matches(inner, document) for inner in conditions)
        case Or(conditions):
            return any(matches(inner, document) for inner in conditions)
    return _test(condition, document)


def _test(condition: Test, document: Document) -> bool:
    match condition:
        case OneOf(field, values):
            return any(_equal(field.value_in(document), value) for value in values)
        case Order(field, operator, value):
            return _ordered(field.value_in(document), operator, value)
        case Contains(field, value):
            items = field.value_in(document)
            return kind(items) == "array" and any(_equal(item, value) for item in items)
        case TextTest(field, operator, value):
            return _fits(field.value_in(document), operator, value)


def _equal(stored: Any, value: Scalar) -> bool:
    if kind(stored) != kind(value):
        return False
    return bool(as_number(stored) == value if kind(value) == "number" else stored == value)


def _fits(stored: Any, operator: TextOperator, value: str) -> bool:
    if kind(stored) != "text":
        return False
    match operator:
        case "contains":
            return value in stored
        case "starts with":
            return bool(stored.startswith(value))
        case "like" | "ilike":
            return matches_pattern(value, stored, operator == "ilike")


def _ordered(stored: Any, operator: Operator, value: Any) -> bool:
    if kind(stored) != kind(value):
        return False
    operand = as_number(stored) if kind(value) == "number" else stored
    match operator:
        case "<":
            return bool(operand < value)
        case "<=":
            return bool(operand <= value)
        case ">":
            return bool(operand > value)
        case ">=":
            return bool(operand >= value)
