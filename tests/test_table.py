"""Fields of tables are strings; columns of them have types."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestvec.inputs.typed_columns import typed


def column(*fields):
    return [row["x"] for row in typed([{"x": field} for field in fields])]


def test_a_column_of_whole_numbers_is_one_of_integers():
    values = column("2015", "-3", "0")
    assert values == [2015, -3, 0]
    assert {type(value) for value in values} == {int}


def test_a_column_of_numbers_is_one_of_floats():
    values = column("1", "2.5", "-0.125")
    assert values == [1.0, 2.5, -0.125]
    assert {type(value) for value in values} == {float}


def test_an_empty_field_is_no_value():
    assert column("", "7") == [None, 7]
    assert column("", "a") == [None, "a"]
    assert column("", "") == [None, None]


@pytest.mark.parametrize(
    "odd",
    ["007", "12.50", "+1", "1_000", " 1", "1e3", "nan", "inf", "٣", "9" * 20, "1507.01930", "x"],
)
def test_one_field_that_would_not_be_written_back_the_same_leaves_a_column_texts(odd):
    assert column("1", odd) == ["1", odd]


def test_columns_do_not_depend_on_each_other():
    rows = typed([{"a": "1", "b": "x"}, {"a": "2", "b": "3"}])
    assert rows == ({"a": 1, "b": "x"}, {"a": 2, "b": "3"})


def test_no_rows_have_no_columns():
    assert typed([]) == ()


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_integers_come_back_as_they_were(values):
    assert column(*map(str, values)) == values


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_floats_come_back_to_the_last_bit(values):
    back = column(*map(repr, values))
    assert back == values
    assert [math.copysign(1, value) for value in back] == [math.copysign(1, v) for v in values]
