"""Numbers agree with their nouns."""

import pytest

from nestvec.plurals import count_of


@pytest.mark.parametrize(
    ("number", "nouns", "text"),
    [
        (0, ("row",), "0 rows"),
        (1, ("row",), "1 row"),
        (1200, ("row",), "1,200 rows"),
        (1, ("query is a row", "queries are rows"), "1 query is a row"),
        (2, ("query is a row", "queries are rows"), "2 queries are rows"),
    ],
)
def test_the_noun_is_plural_unless_there_is_one(number, nouns, text):
    assert count_of(number, *nouns) == text
