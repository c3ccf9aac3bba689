import numpy as np
import pytest

from nestvec.encode.encoder import check_texts, unit_rows
from nestvec.errors import EncodeError, InputError


def test_any_iterable_of_texts_becomes_a_list():
    assert check_texts(np.array(["a", "b"])) == ["a", "b"]
    assert check_texts(iter(())) == []


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ("text", r"the single text 'text'; give a list of texts: \[text\]"),
        (b"text", "the single text"),
        (7, "items is a int; give a list"),
        (["a", None], r"items\[1\] is a NoneType, not a text"),
        (["a", 1.5], r"items\[1\] is a float"),
        (["\ud800"], r"items\[0\] holds half a character"),
    ],
)
def test_what_is_not_a_list_of_texts_is_refused(items, problem):
    with pytest.raises(InputError, match=problem):
        check_texts(items)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_row_without_direction_is_named(bad):
    vectors = np.ones((4, 3), dtype=np.float32)
    vectors[2] = bad
    with pytest.raises(EncodeError, match=r"toy gave a vector without direction .* text 2 of 4"):
        unit_rows(vectors, "toy")


def test_tiny_and_huge_rows_become_unit_rows():
    vectors = np.array([[1e-40, 0], [3e38, 3e38]], dtype=np.float32)
    np.testing.assert_allclose(unit_rows(vectors, "toy"), [[1, 0], [0.5**0.5] * 2], rtol=1e-6)
