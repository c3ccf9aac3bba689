"""Exact top k: equal to a slow twin on small integers, where float32 is exact and ties are many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec import exact_top_k as module
from nestvec.exact_top_k import NONE, count_reaching, exact_top_k, score_blocks, top_k_of_scores
from nestvec.kernels import reference

law = settings(deadline=None, max_examples=60)


def best_by_definition(scores, k):
    """The best k of each row of scores, by the reference kernel: rows and scores."""
    rows = np.empty((len(scores), k), np.int64)
    best = np.empty((len(scores), k), np.float32)
    reference.best_scores(scores, rows, best)
    return rows, best


def small_integers(rng, rows, dim=3):
    return rng.integers(-2, 3, (rows, dim)).astype(np.float32)


def slow_top_k(queries, documents, k, self_match):
    """Rank by sorting, one query at a time; −1 and −∞ where documents are lacking."""
    rows = np.full((len(queries), k), NONE)
    scores = np.full((len(queries), k), -np.inf)
    for query, products in enumerate(queries.astype(int) @ documents.T.astype(int)):
        allowed = [row for row in range(len(documents)) if row != self_match[query]]
        best = sorted(allowed, key=lambda row: (-products[row], row))[:k]
        rows[query, : len(best)], scores[query, : len(best)] = best, products[best]
    return rows, scores


@law
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 12), st.integers(1, 50))
def test_exact_top_k_equals_its_slow_twin(seed, n, q, k):
    rng = np.random.default_rng(seed)
    queries, documents = small_integers(rng, q), small_integers(rng, n)
    self_match = rng.integers(-1, n, q)
    rows, scores = exact_top_k(queries, documents, k, self_match)
    expected = slow_top_k(queries, documents, k, self_match)
    assert (rows == expected[0]).all()
    assert (scores == expected[1]).all()


@law
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 40))
def test_without_self_matches_every_document_is_ranked(seed, q, n):
    rng = np.random.default_rng(seed)
    queries, documents = small_integers(rng, q), small_integers(rng, n)
    rows, scores = exact_top_k(queries, documents, n)
    expected = best_by_definition(queries @ documents.T, n)
    assert (rows == expected[0]).all()
    assert (scores == expected[1]).all()


@pytest.mark.parametrize("block_rows", [1, 2, 7, 100])
def test_the_size_of_a_block_does_not_matter(rng, monkeypatch, block_rows):
    queries, documents = small_integers(rng, 23), small_integers(rng, 31)
    self_match = rng.integers(-1, 31, 23)
    expected = slow_top_k(queries, documents, 5, self_match)
    monkeypatch.setattr(module, "_BLOCK_SCORES", block_rows * 31)
    rows, scores = exact_top_k(queries, documents, 5, self_match)
    assert (rows == expected[0]).all()
    assert (scores == expected[1]).all()


def test_equal_scores_go_to_the_smaller_row():
    documents = np.tile(np.float32([1, 0]), (3000, 1))
    rows, _ = exact_top_k(np.float32([[1, 0]]), documents, 4)
    assert rows.tolist() == [[0, 1, 2, 3]]


def test_missing_documents_are_minus_one():
    rows, scores = exact_top_k(np.ones((2, 1), np.float32), np.ones((1, 1), np.float32), 2)
    assert rows.tolist() == [[0, -1], [0, -1]]
    assert scores.tolist() == [[1, -np.inf], [1, -np.inf]]


def test_no_documents_leave_every_place_empty():
    rows, _ = exact_top_k(np.ones((2, 3), np.float32), np.empty((0, 3), np.float32), 2)
    assert (rows == -1).all()


def test_blocks_hold_every_score_once(rng, monkeypatch):
    queries, documents = small_integers(rng, 10), small_integers(rng, 6)
    monkeypatch.setattr(module, "_BLOCK_SCORES", 18)
    blocks = [(rows, scores.copy()) for rows, scores in score_blocks(queries, documents)]
    assert [len(rows) for rows, _ in blocks] == [3, 3, 3, 1]
    assert (np.concatenate([rows for rows, _ in blocks]) == np.arange(10)).all()
    assert (np.concatenate([scores for _, scores in blocks]) == queries @ documents.T).all()


def test_counts_and_top_k_of_scores_follow_the_reference(rng):
    scores = rng.integers(-3, 4, (6, 300)).astype(np.float32)
    rows, best = top_k_of_scores(scores, 7)
    expected = best_by_definition(scores, 7)
    assert (rows == expected[0]).all()
    assert (best == expected[1]).all()
    queries, bars = np.array([5, 0, 0, 3]), np.float32([0, 3, -3, 4])
    counts = count_reaching(scores, queries, bars)
    expected = np.empty(4, np.int64)
    reference.count_reaching(scores, queries, bars, expected)
    assert (counts == expected).all()
