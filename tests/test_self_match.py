"""Self-matches: the first row that equals a query in every number, and no other."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.self_match import NONE, find_self_matches, row_blocks, vector_keys

law = settings(deadline=None, max_examples=60)


def slow_matches(queries, vectors):
    found = []
    for query in queries:
        equal = [row for row, vector in enumerate(vectors) if (vector == query).all()]
        found.append(equal[0] if equal else NONE)
    return found


@law
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(1, 12))
def test_matches_equal_those_of_comparing_everything(seed, n, q):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-1, 2, (n, 3)).astype(np.float32)
    queries = rng.integers(-1, 2, (q, 3)).astype(np.float32)
    matches = find_self_matches(queries, row_blocks(vectors))
    assert matches.tolist() == slow_matches(queries, vectors)


def test_row_numbers_are_those_of_the_blocks():
    vector = np.float32([[1, 2]])
    blocks = [(np.array([70, 71]), np.float32([[0, 0], [1, 2]])), (np.array([3]), vector)]
    assert find_self_matches(vector, blocks).tolist() == [71]


def test_a_negative_zero_is_a_zero():
    assert find_self_matches(np.float32([[0, 1]]), row_blocks(np.float32([[-0.0, 1]]))) == [0]


def test_equal_keys_alone_are_no_match():
    words = np.full((1, 3), 0x3F900000)
    # A short vector of integers whose sum of products with the odd numbers is 0 modulo 2⁶⁴.
    shifted = words + np.array([-838257, 41135, 1865056])
    a, b = (part.astype(np.uint32).view(np.float32) for part in (words, shifted))
    assert (vector_keys(a) == vector_keys(b)).all()
    assert find_self_matches(np.concatenate([a, b]), row_blocks(b)).tolist() == [-1, 0]


def test_keys_do_not_depend_on_the_block(rng):
    vectors = rng.standard_normal((9000, 4)).astype(np.float32)
    keys = vector_keys(vectors)
    assert (vector_keys(vectors[4000:5000]) == keys[4000:5000]).all()
    assert len(np.unique(keys)) == len(vectors)
