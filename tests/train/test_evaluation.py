"""Scores of every prefix from one encoding, beside random dims and PCA."""

import numpy as np
import pytest

from nestvec.errors import DimsError
from nestvec.metrics import ndcg_at_k
from nestvec.train.evaluation.prefixes import evaluate_prefixes


@pytest.fixture
def task(rng):
    """Documents with their strength in the last four of 16 dimensions; one positive per query."""
    strength = np.where(np.arange(16) < 12, 0.05, 1.0)
    documents = (rng.standard_normal((80, 16)) * strength).astype(np.float32)
    queries = (documents[:40] + 0.02 * rng.standard_normal((40, 16))).astype(np.float32)
    return queries, documents, {i: {i: 1} for i in range(40)}


def test_full_width_has_retention_1_in_every_order(task):
    (full,) = evaluate_prefixes(*task, [16])
    assert {estimate.value for estimate in full.retention.values()} == {1.0}


def test_pca_finds_strength_wherever_it_lies_and_the_prefix_does_not(task):
    small, _ = evaluate_prefixes(*task, [16, 4])
    assert small.dims == 4
    assert small.retention["pca"].low > 0.9
    assert small.retention["prefix"].high < 0.9


def test_prefix_scores_equal_brute_force(task):
    queries, documents, qrels = task
    (scores,) = evaluate_prefixes(queries, documents, qrels, [3], k=5)
    unit = [v[:, :3] / np.linalg.norm(v[:, :3], axis=1, keepdims=True) for v in task[:2]]
    ranking = np.argsort(-(unit[0] @ unit[1].T), axis=1, kind="stable")[:, :5]
    expected = ndcg_at_k(ranking, list(range(40)), qrels, 5).mean()
    assert scores.ndcg["prefix"].value == pytest.approx(expected)


def test_ids_stand_for_rows(task):
    queries, documents, qrels = task
    named = {f"q{q}": {f"d{d}": 1 for d in documents} for q, documents in qrels.items()}
    by_id = evaluate_prefixes(
        queries, documents, named, [4],
        query_ids=[f"q{i}" for i in range(40)], document_ids=[f"d{i}" for i in range(80)],
    )  # fmt: skip
    assert by_id == evaluate_prefixes(queries, documents, qrels, [4])


def test_equal_cosines_go_to_the_smaller_row():
    documents = np.array([[0, 1], *([n, 0] for n in range(1, 40))], dtype=np.float32)
    for row, expected in ((2, 1 / np.log2(3)), (3, 0.0)):
        (scores,) = evaluate_prefixes(documents[1:2], documents, {0: {row: 1}}, [2], k=2)
        assert scores.ndcg["prefix"].value == pytest.approx(expected)


def test_dims_beyond_the_width_are_refused(task):
    with pytest.raises(DimsError, match="wider"):
        evaluate_prefixes(*task, [32])
