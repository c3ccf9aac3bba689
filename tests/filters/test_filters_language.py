"""What a filter says, and that SQL finds just the rows of which it is true."""

import json
import re
import sqlite3

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nestvec.documents import Document
from nestvec.errors import FilterError
from nestvec.filters.ast import And, Contains, Field, Not, OneOf, Or, Order, TextTest
from nestvec.filters.evaluate import matches
from nestvec.filters.parser import MOST_NESTED, MOST_TESTS, parse_where
from nestvec.filters.sqlite import to_sql

YEAR = Field("metadata", ("year",))


def document(metadata=None, *, id_=1, text=None):
    return Document(id_, text, metadata)


def found_by_sql(where, documents):
    """For each document whether the SQL is true of it: 1 or 0, never None."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE rows (row INTEGER PRIMARY KEY, id, text TEXT, metadata TEXT)")
    for row, doc in enumerate(documents):
        metadata = None if doc.metadata is None else json.dumps(doc.metadata)
        db.execute("INSERT INTO rows VALUES (?, ?, ?, ?)", (row, doc.id, doc.text, metadata))
    sql = to_sql(where)
    query = f"SELECT {sql.text} FROM rows ORDER BY row"
    return [value for (value,) in db.execute(query, sql.parameters)]


def holds(text, metadata=None, *, id_=1, text_=None):
    """Whether the filter is true of a row: both twins must say the same."""
    where, doc = parse_where(text), document(metadata, id_=id_, text=text_)
    answer = matches(where, doc)
    assert found_by_sql(where, [doc]) == [answer]
    return answer


# --- meaning -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "year >= 2015 and category in ('cs.CL','cs.IR')",
        "year = 2020 and category == 'cs.CL'",
        "year != 2021", "year > 2019.5", "year < 2.1e3", "2020 <= year", "2021 > year",
        "year between 2020 and 2021", "year not between 2021 and 2030",
        "YEAR is null", "missing is null", "nothing is null", "nothing = null", "year is not null",
        "open = true", "open != false", "not open = false",
        "'cs.IR' in tags", "'cs.XX' not in tags", "3 in tags", "null in tags",
        "venue.name = 'ACL'", "venue.place.city >= 'D'", "venue.year is null",
        '"odd key" = 1', '"a.b" = 2', '"id" = \'inner\'', '"größe" = 3', "größe = 3",
        "id = 7", "id in (6, 7)", "text = 'It''s text'", "text is not null", "metadata is null",
        "year = 1 or year = 2020", "year = 1 and year = 2 or year = 2020",
        "year = 2020 or year = 1 and year = 2", "(year = 2020 or year = 1) and not year = 2",
        "category contains 's.C'", "tags contains 'cs.IR'", "tags contains 3",
        "not tags contains 4",
        "category starts with 'cs.'", "category not starts with 'CL'", "text starts with 'It''s'",
        "category like 'cs.%'", "category like 'c_.CL'", "category not like 'CS%'",
        "category ilike 'CS._l'", "category ilike '%CL'", "text contains 's t'",
        "like like 'a\\%b\\_\\\\'", "starts starts with 'w'", "contains contains 'c'",
        "not (year = 1 or year = 2)", "NOT year = 1 AND year IN (2020) OR year IS NULL",
    ],
)  # fmt: skip
def test_it_is_true_of_the_row(text):
    metadata = {
        "year": 2020, "category": "cs.CL", "open": True, "nothing": None,
        "tags": ["cs.IR", 3, None], "venue": {"name": "ACL", "place": {"city": "Dublin"}},
        "odd key": 1, "a.b": 2, "id": "inner", "größe": 3,
        "like": "a%b_\\", "starts": "with", "contains": "abc",
    }  # fmt: skip
    assert holds(text, metadata, id_=7, text_="It's text")


@pytest.mark.parametrize("literal", ["2020", "'2020'", "true", "null", "1", "'1'"])
@pytest.mark.parametrize("value", [2020, 2020.0, "2020", True, 1, None, [2020], {"2020": 1}, "[1]"])
def test_only_values_of_one_kind_are_equal(literal, value):
    meant = {"true": True, "null": None}.get(literal) if literal.isalpha() else eval(literal)
    one_kind = type(meant) is type(value) or {type(meant), type(value)} == {int, float}
    equal = one_kind and meant == value
    assert holds(f"year = {literal}", {"year": value}) == equal
    assert holds(f"year != {literal}", {"year": value}) != equal
    assert (
        holds(f"{literal} in (year)".replace("(", "").replace(")", ""), {"year": [value]}) == equal
    )


@pytest.mark.parametrize("value", ["2020", True, None, [2020], {"a": 1}])
def test_what_is_no_number_is_neither_below_nor_above_one(value):
    for operator in ("<", "<=", ">", ">="):
        assert not holds(f"year {operator} 0", {"year": value})
        assert holds(f"not year {operator} 0", {"year": value})


def test_a_missing_field_is_null_and_a_row_without_metadata_lacks_all():
    for metadata in (None, {}, {"year": None}, {"year": {"x": 1}}):
        assert holds("year.month is null", metadata)
        assert holds("year.month != 3", metadata)
        assert holds("year.month not in (1, 2)", metadata)
        assert not holds("year.month < 3", metadata)
        assert not holds("3 in year.month", metadata)


def test_texts_are_ordered_by_code_point():
    for low, high in [("Z", "a"), ("z", "é"), ("\uffff", "\U00010000"), ("a", "aa"), ("", "a")]:
        assert holds(f"t < '{high}'", {"t": low})
        assert not holds(f"t >= '{high}'", {"t": low})


def test_whole_numbers_of_64_bits_are_exact_and_larger_ones_are_floats():
    most = 2**63 - 1
    assert holds(f"n = {most}", {"n": most})
    assert not holds(f"n = {most}", {"n": most - 1})
    assert holds(f"n = {2**64}", {"n": 2**64 + 1})
    assert not holds("n < 1e308", {"n": 10**400})


def test_a_string_is_no_list():
    assert not holds("'c' in category", {"category": "cs"})


def test_texts_are_searched_by_characters_and_their_case():
    for pattern, text in [("%", ""), ("_", "é"), ("a%", "a\nb"), ("[a]*?", "[a]*?"), ("É", "É")]:
        assert holds(f"t like '{pattern}'", {"t": text})
    for pattern, text in [
        ("a", "A"),
        ("_", ""),
        ("_", "ab"),
        ("a*", "ab"),
        ("[a]", "a"),
        ("", "a"),
    ]:
        assert not holds(f"t like '{pattern}'", {"t": text})
    assert holds("t ilike 'a%Z'", {"t": "AbcZ"})
    assert not holds("t ilike 'é'", {"t": "É"})  # ASCII letters alone
    assert not holds("t contains '1'", {"t": 1})
    assert not holds("t like '%'", {"t": None})


def test_dates_are_texts_whose_order_is_that_of_time():
    assert holds("day between '2024-02-01' and '2024-02-29T23:59'", {"day": "2024-02-29T12:00"})


@pytest.mark.door("a filter nested 20 deep", "read")
def test_a_filter_nested_as_deep_as_allowed_is_taken_wherever_its_brackets_are():
    for form in ("(n = 2 or n = 3 and {})", "({} and n = 2 or n = 3)", "not {}"):
        deep = "'x' not in n"
        for _ in range(MOST_NESTED):
            deep = form.format(deep)
        assert holds(deep, {"n": 2})


def test_a_long_list_of_values_is_taken():
    values = ", ".join(map(str, range(5_000)))
    assert holds(f"n in ({values})", {"n": 4_999})
    assert not holds(f"n in ({values})", {"n": "7"})


def test_the_largest_filters_are_taken():
    tests = " and ".join(f"n between {-i} and {i}" for i in range(MOST_TESTS))
    assert holds(tests, {"n": 0})
    nest = "not (" * (MOST_NESTED // 2)
    either = " or ".join(["'x' in n"] * (MOST_TESTS - 1))
    assert not holds(f"{either} or {nest} n = 1 {')' * (MOST_NESTED // 2)}", {"n": 0})


# --- laws ----------------------------------------------------------------------------------------

NAMES = st.sampled_from(["year", "a b", "é", "id", "and", "x.y", "$", "'", "\\", "a]b", ""])
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3)
# Strategies make plain values: what builds conditions of them is type-checked, at random places.
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([-(2**63), 2**63 - 1, float(2**63), -0.0, 0.5, 1e-300, 1e300, 0.1, 2.5e20]),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
PATTERNS = st.text("aA%_é\n*?[]^-", max_size=4)
PATHS = st.lists(NAMES, min_size=1, max_size=2).map(tuple)
FIELDS = PATHS | st.sampled_from(["id", "text"])
TESTS = st.one_of(
    st.tuples(st.just(OneOf), FIELDS, st.lists(SCALARS, min_size=1, max_size=4).map(tuple)),
    st.tuples(st.just(Order), FIELDS, st.sampled_from(["<", "<=", ">", ">="]), NUMBERS | TEXTS),
    st.tuples(st.just(Contains), PATHS, SCALARS),
    st.tuples(
        st.just(TextTest), FIELDS, st.sampled_from(["starts with", "like", "ilike"]), PATTERNS
    ),
)
CONDITIONS = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        st.tuples(st.just(Not), inner),
        st.tuples(st.sampled_from([And, Or]), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=6,
)
JSON = st.recursive(
    SCALARS | st.integers(-(10**400), 10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=4,
)
DOCUMENTS = st.tuples(
    st.integers(-(2**63), 2**63 - 1) | TEXTS,
    st.none() | TEXTS,
    st.none() | st.dictionaries(NAMES, JSON, max_size=4),
)


def built(drawn):
    """The condition that a draw of `CONDITIONS` stands for."""
    form, first, *rest = drawn
    if form is Not:
        return Not(built(first))
    if form in (And, Or):
        return form(tuple(map(built, first)))
    return form(Field("metadata", first) if isinstance(first, tuple) else Field(first), *rest)


def spelled(condition):
    """The text of a condition, with all brackets that it may need."""
    match condition:
        case OneOf(field, values):
            return f"{named(field)} in ({', '.join(map(literal, values))})"
        case Order(field, operator, value) | TextTest(field, operator, value):
            return f"{named(field)} {operator} {literal(value)}"
        case Contains(field, value):
            return f"{literal(value)} in {named(field)}"
        case Not(inner):
            return f"not ({spelled(inner)})"
        case And(parts):
            return " and ".join(f"({spelled(part)})" for part in parts)
        case Or(parts):
            return " or ".join(f"({spelled(part)})" for part in parts)


def named(field):
    return ".".join(f'"{name}"' for name in field.path) or field.column


def literal(value):
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value)


@settings(deadline=None, max_examples=300)
@given(CONDITIONS)
def test_a_condition_is_what_its_text_spells(drawn):
    condition = built(drawn)
    assert repr(parse_where(spelled(condition))) == repr(condition)  # 1 == True == 1.0


@settings(deadline=None, max_examples=500)
@given(CONDITIONS, st.lists(DOCUMENTS, min_size=1, max_size=4))
def test_sql_finds_what_matches_says(drawn, rows):
    condition, documents = built(drawn), [Document(*row) for row in rows]
    expected = [matches(condition, doc) for doc in documents]
    assert found_by_sql(condition, documents) == expected


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([OneOf, Order, Contains]), NAMES, SCALARS, st.lists(JSON, max_size=2))
def test_sql_finds_a_value_that_is_there(test, name, value, others):
    # Conditions that hit: the random ones above mostly miss.
    field = Field("metadata", (name,))
    if test is Order and not isinstance(value, bool | None):
        condition, row = Order(field, "<=", value), {name: value}
    elif test is Contains:
        condition, row = Contains(field, value), {name: [*others, value]}
    else:
        condition, row = OneOf(field, (value,)), {name: value}
    assert matches(condition, document(row))
    assert found_by_sql(condition, [document(row)]) == [1]


# --- no text does harm ---------------------------------------------------------------------------

PIECES = st.sampled_from(
    ["year", "(", ")", "and", "or", "not", "in", "is", "null", "between", "=", "<=", ",", "1", "-2",
     "'x'", "'", '"', '"k"', ".", ";", "--", "/*", "?", "id", "text", "true", "1e999", "\0", "é",
     "DROP TABLE rows", "' OR 1=1 --", "json_extract(metadata,'$.x')", "\ud800", "\n", "0x1"]
)  # fmt: skip
ASCII = st.characters(max_codepoint=127)
SKELETON = re.compile(
    r"(?: \s | \( | \) | \? | , | = | <= | >= | < | > | \b0\b | \$ "
    r"| '\\\\' | '(?:null|true|false|integer|real|text|array)' "
    r"| \b(?:ifnull|json_type|json_extract|json_each|typeof|rows\.metadata|rows\.id|rows\.text|AND"
    r"|OR|NOT|IN|IS|NULL|EXISTS|SELECT|1|FROM|AS|item|WHERE|item\.type|item\.value|value"
    r"|GLOB|LIKE|ESCAPE|instr|substr|length)\b )*",
    re.VERBOSE,
)


@settings(deadline=None, max_examples=1000)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=12).map(" ".join), st.text(ASCII)))
@example("year = 1; DROP TABLE rows")
@example("year = '' OR 1=1 --'")
@example("\"year') = 1 OR ('\" = 1")
@example("'a' in \"x') AS item); DROP TABLE rows; --\"")
@example("(" * 5000)
@example("not " * 5000)
@example("1" * 10_000 + " = year")
def test_any_text_is_a_filter_or_an_error_and_its_sql_is_of_the_grammar(text):
    try:
        condition = parse_where(text)
    except FilterError:
        return
    sql = to_sql(condition)
    assert SKELETON.fullmatch(sql.text), sql.text
    assert sql.text.count("?") == len(sql.parameters)
    doc = document({"year": 1, "k": ["x"]})
    assert found_by_sql(condition, [doc]) == [matches(condition, doc)]


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "rule"),
    [
        ("", "is empty", "leave it out"),
        ("  ", "is empty", "leave it out"),
        ("year", "where it ends", "a comparison is needed"),
        ("year >=", "where it ends", "a value is needed"),
        ("year >= and x = 1", "character 9, 'and'", "a value is needed"),
        ("year >= other", "character 9, 'other'", "not with each other"),
        ('category = "cs.CL"', "character 12, '\"cs.CL\"'", "in single quotes"),
        ("year = 'abc", 'character 8, "\'abc"', "never closed"),
        ("year = 1)", "character 9, '\\)'", "should end here"),
        ("(year = 1", "where it ends", "closing bracket"),
        ("year = 1 year = 2", "character 10, 'year'", "'and' or 'or'"),
        ("year in 3", "character 9, '3'", "in brackets"),
        ("year in ()", "character 10, '\\)'", "a value is needed"),
        ("t like 3", "character 8, '3'", "'text' in single quotes"),
        ("t like 'a\\'", "character 8", "cannot end in"),
        ("t like '%%%%%%%%%%%'", "character 8", "10 % at most"),
        ("t starts 'a'", "character 10", "'with' must follow"),
        ("id contains 3", "character 13", "id is no list"),
        ("year is 3", "character 9, '3'", "only null"),
        ("year < true", "character 8, 'true'", "have an order"),
        ("null <= year", "character 1, 'null'", "have an order"),
        ("year between 1", "where it ends", "two values"),
        ("between = 1", "character 1, 'between'", "a test of a field"),
        ("a.in = 1", "character 3, 'in'", '"in"'),
        ("a. = 1", "character 4, '='", "a field is needed"),
        ("1 = 2", "character 5, '2'", "a field is needed"),
        ("1 in id", "character 6, 'id'", "id is no list"),
        ("year = 1e999", "character 8, '1e999'", "too large"),
        ("year = 20x", "character 8, '20x'", "no number"),
        ("year = .5", "character 8, '.'", "a value is needed"),
        ("year = 1; drop", "character 9, '; drop'", "nothing can begin so"),
        ("co-author = 1", "character 3, '-author = '", "no number"),
        ("a = 'x\0'", "character 5", "U\\+0000"),
        ("a = '\ud800'", "character 5", "surrogate"),
        ('"a""b" = 1', "character 1", "double quote"),
        (" or ".join(["a = 1"] * (MOST_TESTS + 1)), "character", "500 tests at most"),
        ("not " * (MOST_NESTED + 1) + "a = 1", "character", "20 times at most"),
        (7, "where=7", "is no text"),
    ],
)
def test_an_error_says_where_and_why(text, place, rule):
    with pytest.raises(FilterError, match=f"(?s){place}.*{rule}"):
        parse_where(text)
