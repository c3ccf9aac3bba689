"""The text of a filter, such as `year >= 2015 and category in ('cs.CL', 'cs.IR')`, as a condition.

    either     = all ("or" all)*
    all        = one ("and" one)*
    one        = "not" one | "(" either ")" | test
    test       = field compare value | value compare field
               | field ["not"] "in" "(" value ("," value)* ")" | value ["not"] "in" field
               | field ["not"] "between" value "and" value | field "is" ["not"] "null"
               | field ["not"] "contains" value
               | field ["not"] ("starts" "with" | "like" | "ilike") text
    compare    = "=" | "==" | "!=" | "<" | "<=" | ">" | ">="
    field      = name ("." name)*        name  = letters, digits and _, or "any text" with "" for "
    value      = number | 'text' with '' for ' | "true" | "false" | "null"

Keywords are read in either case; those of the last two tests are names elsewhere. `id` and `text`
are those of the row, `"id"` is a field of its metadata.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from nestvec.errors import FilterError
from nestvec.filters.ast import (
    And,
    Condition,
    Contains,
    Field,
    Not,
    OneOf,
    Operator,
    Or,
    Order,
    Scalar,
    TextOperator,
    TextTest,
    as_number,
    kind,
)
from nestvec.filters.patterns import MAX_CHARS, MAX_WILDCARDS, count_wildcards, is_complete

MOST_TESTS = 500
MOST_NESTED = 20
"""Tests in one filter, and brackets in one another: SQLite takes no deeper expressions."""

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number> -?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)? (?![\w.]) )
      | (?P<text>   '(?:[^']|'')*' )
      | (?P<quoted> "(?:[^"]|"")*" )
      | (?P<word>   [^\W\d]\w* )
      | (?P<sign>   == | != | <= | >= | [=<>(),.] )
    )""",
    re.VERBOSE,
)
_WORDS = {"and", "or", "not", "in", "between", "is", "null", "true", "false"}
_CONSTANTS: dict[str, Scalar] = {"null": None, "true": True, "false": False}
_COMPARE = ("=", "==", "!=", "<", "<=", ">", ">=")
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_VALUE = "a value is needed here: a number, a 'text' in single quotes, true, false or null"
_TEST = "a test of a field is needed here, such as year >= 2015"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    """A group of `_TOKEN`; words of the language and signs are their own kind; "end" at last."""
    text: str
    at: int


def parse_where(text: object) -> Condition:
    """Parse a filter; `FilterError` shows where it is not understood, and why.

    >>> parse_where("year >= 2015")
    Order(field=Field(column='metadata', path=('year',)), operator='>=', value=2015)
    """
    if not isinstance(text, str):
        raise FilterError(f"where={text!r} is no text; write a filter such as 'year >= 2015'")
    if not text.strip():
        raise FilterError("the filter is empty; leave it out to search all rows")
    return _Parser(text).whole()


class _Parser:
    """A recursive-descent parser of one text; each method parses what it is named after."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.next = 0
        self.tests = 0
        self.nested = 0

    def whole(self) -> Condition:
        condition = self.either()
        if self.token.kind != "end":
            raise self.error("the filter should end here, or go on with 'and' or 'or'")
        return condition

    def either(self) -> Condition:
        return self._series("or", self.all, Or)

    def all(self) -> Condition:
        return self._series("and", self.one, And)

    def _series(
        self, word: str, part: Callable[[], Condition], joined: type[And] | type[Or]
    ) -> Condition:
        parts = [part()]
        while self.takes(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else joined(tuple(parts))

    def one(self) -> Condition:
        if self.token.kind not in ("not", "("):
            return self.test()
        self.nested += 1
        if self.nested > MOST_NESTED:
            raise self.error(
                f"'not' and brackets may be in one another {MOST_NESTED} times at most"
            )
        if self.takes("not"):
            condition: Condition = Not(self.one())
        else:
            self.take()
            condition = self.either()
            self.expect(")", "a closing bracket ) is needed here, or 'and' or 'or'")
        self.nested -= 1
        return condition

    def test(self) -> Condition:
        self.tests += 1
        if self.tests > MOST_TESTS:
            raise self.error(
                f"a filter has {MOST_TESTS} tests at most; list values as field in (1, 2)"
            )
        if self.token.kind in ("word", "quoted"):
            return self._test_of(self.field())
        if self.token.kind in ("number", "text", *_CONSTANTS):
            return self._test_from(self.value())
        raise self.error(_TEST)

    def _test_of(self, field: Field) -> Condition:
        if self.token.kind in _COMPARE:
            operator = self.take().kind
            token = self.token
            return self.compared(field, operator, self.value(), token)
        if self.takes("is"):
            negated = self.takes("not")
            self.expect("null", "only null can follow 'is'; compare values with =")
            return _negated(negated, OneOf(field, (None,)))
        negated = self.takes("not")
        if self.takes("in"):
            return _negated(negated, OneOf(field, self.values()))
        if self.takes("between"):
            return _negated(negated, self.between(field))
        operator = self.token.text.lower() if self.token.kind == "word" else ""
        if operator in ("contains", "starts", "like", "ilike"):
            return _negated(negated, self.text_test(field, operator))
        raise self.error(
            "a comparison is needed here: = != < <= > >=, in (...), between, contains, "
            "starts with, like, or is null"
        )

    def text_test(self, field: Field, operator: str) -> Condition:
        self.take()
        if operator == "starts":
            if self.token.text.lower() != "with":
                raise self.error("'with' must follow 'starts': starts with 'a text'")
            self.take()
            operator = "starts with"
        token = self.token
        value = self.value()
        if operator == "contains":
            if field.column != "metadata" and not isinstance(value, str):
                raise self.error(f"{field.column} is no list; a 'text' must follow", token)
            return _contains(field, value)
        if not isinstance(value, str):
            raise self.error(f"a 'text' in single quotes must follow '{operator}'", token)
        if operator != "starts with":
            self.check_pattern(value, token)
        return TextTest(field, cast(TextOperator, operator), value)

    def check_pattern(self, pattern: str, token: _Token) -> None:
        if len(pattern) > MAX_CHARS or count_wildcards(pattern) > MAX_WILDCARDS:
            raise self.error(
                f"a pattern has {MAX_CHARS} characters and {MAX_WILDCARDS} % at most", token
            )
        if not is_complete(pattern):
            raise self.error(r"a pattern cannot end in \; write \\ for a backslash", token)

    def _test_from(self, value: Scalar) -> Condition:
        token = self.tokens[self.next - 1]
        if self.token.kind in _COMPARE:
            operator = self.take().kind
            field = self.field()
            return self.compared(field, _MIRRORED.get(operator, operator), value, token)
        negated = self.takes("not")
        self.expect(
            "in", "a comparison with a field, or 'in' and a field that is a list, is needed"
        )
        token = self.token
        field = self.field()
        if field.column != "metadata":
            raise self.error(f"{field.column} is no list; compare it with =", token)
        return _negated(negated, Contains(field, value))

    def between(self, field: Field) -> Condition:
        token = self.token
        low = self.compared(field, ">=", self.value(), token)
        self.expect("and", "between needs two values: between 2015 and 2020")
        token = self.token
        return And((low, self.compared(field, "<=", self.value(), token)))

    def compared(self, field: Field, operator: str, value: Scalar, token: _Token) -> Condition:
        if operator in ("=", "==", "!="):
            return _negated(operator == "!=", OneOf(field, (value,)))
        if kind(value) not in ("number", "text"):
            raise self.error(
                "only numbers and texts have an order; compare others with = or !=", token
            )
        return Order(field, cast(Operator, operator), cast(int | float | str, value))

    def values(self) -> tuple[Scalar, ...]:
        self.expect("(", "a list of values in brackets is needed here, such as (1, 2)")
        values = [self.value()]
        while self.takes(","):
            values.append(self.value())
        self.expect(")", "a comma or a closing bracket ) is needed here")
        return tuple(values)

    def field(self) -> Field:
        first = self.token
        names = [self.name()]
        while self.takes("."):
            names.append(self.name())
        if first.kind == "word" and first.text in ("id", "text") and len(names) == 1:
            return Field(first.text)  # type: ignore[arg-type]
        return Field("metadata", tuple(names))

    def name(self) -> str:
        token = self.token
        if token.kind == "word":
            return self.take().text
        if token.kind in _WORDS:
            raise self.error(f'a field is needed here; one of this name is written "{token.text}"')
        if token.kind != "quoted":
            raise self.error("a field is needed here, such as year")
        name = self.take().text[1:-1].replace('""', '"')
        if '"' in name or not _is_plain(name):
            raise self.error(
                "a field with a double quote or U+0000 in its name cannot be tested", token
            )
        return name

    def value(self) -> Scalar:
        token = self.token
        if token.kind in _CONSTANTS:
            return _CONSTANTS[self.take().kind]
        if token.kind == "number":
            return self.number()
        if token.kind in ("word", "quoted"):
            raise self.error(f"{_VALUE}; fields are compared with values, not with each other")
        if token.kind != "text":
            raise self.error(_VALUE)
        text = self.take().text[1:-1].replace("''", "'")
        if not _is_plain(text):
            raise self.error("a text cannot hold U+0000 or half a surrogate pair", token)
        return text

    def number(self) -> int | float:
        token = self.take()
        whole = token.text.lstrip("-").isdigit() and len(token.text) < 100
        number = as_number(int(token.text)) if whole else float(token.text)
        if math.isinf(number):
            raise self.error("the number is too large; use one below 1e308", token)
        return number

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def take(self) -> _Token:
        self.next += 1
        return self.tokens[self.next - 1]

    def takes(self, kind: str) -> bool:
        """Take the next token if it is of this kind."""
        matches = self.token.kind == kind
        self.next += matches
        return matches

    def expect(self, kind: str, rule: str) -> None:
        if not self.takes(kind):
            raise self.error(rule)

    def error(self, rule: str, token: _Token | None = None) -> FilterError:
        return _error(self.text, token or self.token, rule)


def _tokens(text: str) -> list[_Token]:
    tokens, position, end = [], 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            raise _error(
                text, _Token("?", text[start : start + 10], start), _unreadable(text[start])
            )
        assert match.lastgroup is not None
        matched = match[match.lastgroup]
        tokens.append(
            _Token(_kind(match.lastgroup, matched), matched, match.start(match.lastgroup))
        )
        position = match.end()
    return [*tokens, _Token("end", "", len(text))]


def _kind(group: str, text: str) -> str:
    if group == "word" and text.lower() in _WORDS:
        return text.lower()
    return text if group == "sign" else group


def _unreadable(char: str) -> str:
    if char in "'\"":
        return f"the {char} that begins here is never closed; inside quotes, write {char} twice"
    if char.isdigit() or char in "-+":
        return "this is no number; write one as 2015, -3, 0.5 or 1e-3"
    return "nothing can begin so; put field names with other signs than letters in double quotes"


def _error(text: str, token: _Token, rule: str) -> FilterError:
    place = f"at character {token.at + 1}, {token.text!r}" if token.text else "where it ends"
    return FilterError(f"the filter {text!r} is not understood {place}: {rule}")


def _is_plain(text: str) -> bool:
    """Tell whether SQLite can compare it: no U+0000, and nothing that UTF-8 cannot hold."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _contains(field: Field, value: Scalar) -> Condition:
    """A list contains an item, and a text contains a part."""
    item = None if field.column != "metadata" else Contains(field, value)
    part = TextTest(field, "contains", value) if isinstance(value, str) else None
    tests = tuple(test for test in (item, part) if test is not None)
    return tests[0] if len(tests) == 1 else Or(tests)


def _negated(negated: bool, condition: Condition) -> Condition:
    return Not(condition) if negated else condition
