"""Relevance by judgments, its retention, and the knee."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from nestvec.auditing.compression.variant_encoder import encode_variant
from nestvec.auditing.measures.knee import knee
from nestvec.auditing.measures.relevance import (
    judgments_by_row,
    queries_with_judgments,
    relevance,
    relevance_values,
)
from nestvec.auditing.ranking.full_ranking import rank_all
from nestvec.auditing.reporting.worst_queries import largest_losses
from nestvec.auditing.types import Variant
from nestvec.errors import InputError


def ranking_at(corpus, dims):
    embeddings = encode_variant(corpus.documents, corpus.queries, Variant(dims))
    return rank_all(embeddings, 100, np.full(200, -1)).ranking


def values(corpus, dims):
    judgments = judgments_by_row(corpus.qrels, range(200), range(400))
    return relevance_values(ranking_at(corpus, dims).rows, judgments)


# Judgments.


def test_judgments_are_rows_in_the_order_of_queries():
    qrels = {"b": {"y": 2, "x": 1, "z": 0}, "a": {"z": 1}, "missing": {"x": 1}}
    judgments = judgments_by_row(qrels, ["a", "b", "c"], ["x", "y", "z"])
    assert judgments.queries.tolist() == [0, 1, 1]
    assert judgments.documents.tolist() == [2, 1, 0]
    assert judgments.grades.tolist() == [1, 2, 1]
    assert queries_with_judgments(judgments).tolist() == [0, 1]


@pytest.mark.parametrize("qrels", [{}, {"a": {"x": 0}}, {"other": {"x": 1}}], ids=str)
def test_judgments_of_no_query_are_refused(qrels):
    with pytest.raises(InputError, match="any of the queries"):
        judgments_by_row(qrels, ["a"], ["x"])


def test_judgments_of_missing_documents_are_left_out_and_counted(caplog):
    judgments = judgments_by_row({"a": {"gone": 1, "x": 2, "lost": 1}}, ["a"], ["x"])
    assert judgments.grades.tolist() == [2]
    assert "2 judgments name documents" in caplog.text
    assert "'gone'" in caplog.text
    with pytest.raises(InputError, match="any of the queries"):
        judgments_by_row({"a": {"gone": 1}}, ["a"], ["x"])


# Values.


def test_ndcg_is_that_of_scikit_learn(corpus, rng):
    qrels = {q: {int(d): int(rng.integers(1, 4)) for d in rng.choice(400, 5)} for q in range(20)}
    judgments = judgments_by_row(qrels, range(200), range(400))
    ranking = ranking_at(corpus, 64)
    ours = relevance_values(ranking.rows, judgments)["ndcg@10"]
    grades = np.zeros((20, 400))
    for query, row in qrels.items():
        grades[query, list(row)] = list(row.values())
    scores = corpus.queries[:20] @ corpus.documents.T
    assert ours.mean() == pytest.approx(ndcg_score(grades, scores, k=10), abs=1e-6)


def test_queries_without_judgments_have_no_value(corpus):
    judgments = judgments_by_row({3: {3: 1}, 9: {9: 1}}, range(200), range(400))
    assert [len(v) for v in relevance_values(ranking_at(corpus, 64).rows, judgments).values()] == [
        2
    ] * 4


def test_the_full_vectors_retain_everything(corpus, rng):
    full = values(corpus, 64)
    metrics = relevance(full, full, rng).metrics
    for name in full:
        assert metrics[f"{name}_retention"] == (1, 1, 1, 200)
    assert metrics["large_losses"].value == 0
    assert metrics["loss_p5"][:3] == (0, 0, 0)


def test_fewer_dims_retain_less(corpus, rng):
    full = values(corpus, 64)
    retentions = [
        relevance(full, values(corpus, dims), rng).metrics["ndcg@10_retention"]
        for dims in (32, 8, 3)
    ]
    assert retentions[0].value > retentions[1].value > retentions[2].value
    assert all(estimate.low <= estimate.value <= estimate.high for estimate in retentions)
    assert retentions[2].high < 0.98


def test_a_baseline_of_zero_has_no_retention(rng):
    full, variant = {"ndcg@10": np.zeros(5)}, {"ndcg@10": np.ones(5) / 2}
    metrics = relevance(full, variant, rng).metrics
    assert "ndcg@10_retention" not in metrics
    assert metrics["ndcg@10"].value == 0.5


def test_queries_with_large_losses_are_counted(rng):
    full = {"ndcg@10": np.ones(10)}
    variant = {"ndcg@10": np.array([1.0] * 7 + [0.85, 0.5, 0.0])}
    metrics = relevance(full, variant, rng).metrics
    assert metrics["large_losses"].value == pytest.approx(0.2)
    assert metrics["loss_p5"].value < -0.5


def test_groups_are_the_units_of_intervals(corpus, rng):
    full, variant = values(corpus, 64), values(corpus, 8)
    metrics = relevance(full, variant, rng, groups=np.arange(200) // 10).metrics
    assert metrics["ndcg@10_retention"].n == 20


# The worst queries.


def test_the_largest_loss_comes_first_and_gains_are_left_out():
    baseline, variant = np.array([1.0, 1.0, 0.5, 1.0]), np.array([0.9, 0.0, 1.0, 0.9])
    assert largest_losses(baseline, variant).tolist() == [1, 0, 3]


# The knee.

DIMS = [8, 16, 32, 64, 128, 256, 512, 1024]


def bent_curves(bend_dims, noise, q=500):
    rng = np.random.default_rng(0)
    curve = np.minimum(np.log2(DIMS), np.log2(bend_dims)) / 10
    return curve + noise * rng.standard_normal((q, 1)) + noise * rng.standard_normal((q, len(DIMS)))


@pytest.mark.parametrize("bend_dims", [32, 64, 128])
def test_a_clear_knee_is_found(bend_dims, rng):
    bend = knee(DIMS, bent_curves(bend_dims, 0.05), rng)
    assert bend["stable"]
    assert bend["low"] <= bend_dims * 1.1
    assert bend["high"] >= bend_dims / 1.1
    assert bend["dims"] == pytest.approx(bend_dims, rel=0.15)


def test_the_order_of_sizes_does_not_matter(rng):
    curves = bent_curves(64, 0.05)
    reversed_ = knee(DIMS[::-1], curves[:, ::-1], rng)
    assert reversed_["dims"] == knee(DIMS, curves, rng)["dims"]


def test_noise_and_lines_have_no_stable_knee(rng):
    line = np.log2(DIMS) / 10 + 0.3 * rng.standard_normal((50, len(DIMS)))
    assert not knee(DIMS, line, rng)["stable"]


def test_few_sizes_have_no_stable_knee(rng):
    few = knee(DIMS[:7], bent_curves(64, 0.05)[:, :7], rng)
    assert not few["stable"]
    assert "7 widths" in few["message"]
