"""The best of some rows is what float64 brute force says, however the work is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.index import nearest as module
from nestvec.index.nearest import nearest


def brute_force(vectors, rows, queries, k):
    scores = queries.astype(float) @ vectors[rows].T.astype(float)
    order = np.array([np.lexsort((rows, -line))[:k] for line in scores], int)
    order = order.reshape(len(queries), k)
    return rows[order], np.take_along_axis(scores, order, axis=1)


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    dim=st.sampled_from([1, 3, 64, 65]),
    block=st.sampled_from([1, 100, 1 << 25]),
)
def test_whole_numbers_with_many_ties_are_decided_as_brute_force_does(seed, n, dim, block):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-1, 2, (n, dim)).astype(np.float32)
    queries = rng.integers(-1, 2, (3, dim)).astype(np.float32)
    rows = np.flatnonzero(rng.random(n) < 0.6)
    k = int(rng.integers(0, len(rows) + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_BYTES", block)
        found, scores = nearest(vectors, rows, queries, k)
    expected, exact = brute_force(vectors, rows, queries, k)
    assert (found == expected).all()
    assert (scores == exact).all()


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e15])
def test_rows_that_float32_cannot_tell_apart_are_decided_in_float64(rng, scale):
    base = rng.standard_normal(300)
    vectors = (base + 1e-7 * rng.standard_normal((400, 300))).astype(np.float32)
    vectors = (vectors * (scale / np.abs(vectors).max())).astype(np.float32)
    queries = rng.standard_normal((5, 300)).astype(np.float32)
    rows = np.arange(400)
    found, _ = nearest(vectors, rows, queries, 10)
    exact = [
        sorted(rows, key=lambda row: (-_dot(vectors[row], query), row))[:10] for query in queries
    ]
    assert (found == exact).all()


def _dot(a, b):
    """Exact but for the last rounding."""
    import math

    return math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def test_an_answer_does_not_depend_on_its_batch(rng):
    vectors = rng.standard_normal((500, 96)).astype(np.float32)
    queries = rng.standard_normal((20, 96)).astype(np.float32)
    rows = np.arange(0, 500, 3)
    together, scores = nearest(vectors, rows, queries, 7)
    for q in range(20):
        alone, score = nearest(vectors, rows, queries[q : q + 1], 7)
        assert (alone[0] == together[q]).all()
        assert (score[0] == scores[q]).all()


def test_no_queries_and_no_rows_have_no_answers(rng):
    vectors = rng.standard_normal((5, 8)).astype(np.float32)
    assert nearest(vectors, np.arange(5), vectors[:0], 3)[0].shape == (0, 3)
    assert nearest(vectors, np.arange(0), vectors, 0)[0].shape == (5, 0)
