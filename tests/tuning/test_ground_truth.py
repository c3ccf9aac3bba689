"""Queries and their exact top k, from which self-matches are left out."""

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


def recall(truth, plan):
    return measure_plan(truth, Guarantee(truth.k), plan).attained


def test_the_ground_truth_of_new_queries_is_the_exact_top_k(index, queries):
    truth = compute(index, queries[:300])  # more than one block
    exact = index.search(queries[:300], K, exact=True)
    assert (truth.top_k == exact.rows).all()
    assert truth.n_self_matches == 0


def test_queries_that_are_rows_have_self_matches(index, dataset, queries):
    vectors, _ = dataset
    mixed = np.concatenate([vectors[[7, 3999]], queries[:3]])
    assert find_self_matches(index.snapshot, mixed).tolist() == [7, 3999, -1, -1, -1]
    assert compute(index, mixed).n_self_matches == 2


def test_a_self_match_is_left_out_and_other_queries_lose_no_hit(index, dataset, queries):
    vectors, _ = dataset
    mixed = np.concatenate([vectors[:20], queries[:20]])
    truth = compute(index, mixed)
    exact = index.search(mixed, K + 1, exact=True).rows
    for row in range(20):
        assert truth.top_k[row].tolist() == [r for r in exact[row].tolist() if r != row][:K]
    assert (truth.top_k[20:] == exact[20:, :K]).all()


def test_a_full_scan_has_perfect_recall_and_a_single_cell_has_not(index, queries):
    truth = compute(index, queries[:200])
    assert (recall(truth, FULL) == 1).all()
    one_cell, full = (measure_plan(truth, Guarantee(K), plan) for plan in (Plan(1), FULL))
    assert one_cell.attained.mean() < 1
    assert one_cell.bytes_per_query < full.bytes_per_query


def test_queries_are_selected_by_position(index, queries):
    truth = compute(index, queries[:50])
    selected = truth[np.array([4, 1])]
    assert (selected.queries == queries[[4, 1]]).all()
    assert (selected.top_k == truth.top_k[[4, 1]]).all()


@pytest.fixture
def small(tmp_path):
    """Rows 1 and 3 are equal, row 2 begins with a negative zero."""
    vectors = np.array([[1, 0], [0, 1], [-0.0, 2], [0, 1], [3, 1]], np.float32)
    return Index.build(vectors, tmp_path / "small.nv")


def test_of_equal_rows_the_first_live_one_is_the_self_match(small):
    query = np.array([[0, 1]], np.float32)
    assert find_self_matches(small.snapshot, query).tolist() == [1]
    small.delete([1])
    assert find_self_matches(small.snapshot, query).tolist() == [3]


def test_zeros_of_either_sign_are_equal(small):
    assert find_self_matches(small.snapshot, np.array([[0.0, 2]], np.float32)).tolist() == [2]


def test_rows_added_later_are_self_matches_too(small):
    small.add(np.array([[5, 5]], np.float32))
    queries = np.array([[5, 5], [5, 5], [4, 5]], np.float32)
    assert find_self_matches(small.snapshot, queries).tolist() == [5, 5, -1]


def test_recall_is_measured_without_the_self_match(index, dataset):
    truth = compute(index, dataset[0][:50])
    assert (recall(truth, FULL) == 1).all()
