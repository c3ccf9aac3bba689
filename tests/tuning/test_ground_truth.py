"""Queries and their exact answers; queries that are rows leave themselves out."""

import numpy as np
import pytest

from nestvec import Index, Plan
from nestvec.progress import silent
from nestvec.tuning.ground_truth import GroundTruth
from nestvec.tuning.guarantee import Guarantee
from nestvec.tuning.plan_scores import measure_plan
from nestvec.tuning.self_match import find_self_matches

K = 5
FULL = Plan(None)


def compute(index, queries):
    return GroundTruth.compute(index, queries, K, silent)


def recall(asked, plan):
    return measure_plan(asked, Guarantee(asked.k), plan).attained


def test_the_truth_of_new_queries_is_the_exact_answer(index, queries):
    asked = compute(index, queries[:300])  # more than one block
    exact = index.search(queries[:300], K, exact=True)
    assert (asked.top_k == exact.rows).all()
    assert asked.n_self_matches == 0


def test_rows_as_queries_are_found_out(index, material, queries):
    vectors, _ = material
    mixed = np.concatenate([vectors[[7, 3999]], queries[:3]])
    assert find_self_matches(index.snapshot, mixed).tolist() == [7, 3999, -1, -1, -1]
    assert compute(index, mixed).n_self_matches == 2


def test_a_row_is_not_among_its_own_answers_and_others_keep_all_of_theirs(index, material, queries):
    vectors, _ = material
    mixed = np.concatenate([vectors[:20], queries[:20]])
    asked = compute(index, mixed)
    exact = index.search(mixed, K + 1, exact=True).rows
    for row in range(20):
        assert asked.top_k[row].tolist() == [r for r in exact[row].tolist() if r != row][:K]
    assert (asked.top_k[20:] == exact[20:, :K]).all()


def test_a_full_scan_finds_everything_and_a_single_cell_does_not(index, queries):
    asked = compute(index, queries[:200])
    assert (recall(asked, FULL) == 1).all()
    little, whole = (measure_plan(asked, Guarantee(K), plan) for plan in (Plan(1), FULL))
    assert little.attained.mean() < 1
    assert little.bytes_per_query < whole.bytes_per_query


def test_some_of_the_questions_are_those_questions(index, queries):
    asked = compute(index, queries[:50])
    some = asked[np.array([4, 1])]
    assert (some.queries == queries[[4, 1]]).all()
    assert (some.top_k == asked.top_k[[4, 1]]).all()


@pytest.fixture
def small(tmp_path):
    """Rows 1 and 3 are equal, row 2 begins with a negative zero."""
    vectors = np.array([[1, 0], [0, 1], [-0.0, 2], [0, 1], [3, 1]], np.float32)
    return Index.build(vectors, tmp_path / "small.nv")


def test_of_equal_rows_the_first_live_one_is_the_query(small):
    query = np.array([[0, 1]], np.float32)
    assert find_self_matches(small.snapshot, query).tolist() == [1]
    small.delete([1])
    assert find_self_matches(small.snapshot, query).tolist() == [3]


def test_zero_is_zero_whatever_its_sign(small):
    assert find_self_matches(small.snapshot, np.array([[0.0, 2]], np.float32)).tolist() == [2]


def test_rows_that_were_added_later_are_found_out_too(small):
    small.add(np.array([[5, 5]], np.float32))
    both = np.array([[5, 5], [5, 5], [4, 5]], np.float32)
    assert find_self_matches(small.snapshot, both).tolist() == [5, 5, -1]


def test_a_query_that_is_a_row_is_measured_without_itself(index, material):
    asked = compute(index, material[0][:50])
    assert (recall(asked, FULL) == 1).all()
