"""Relevance, retention and the knee: what is kept of people's judgements."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from nestvec.auditing.compression.compressor import encode
from nestvec.auditing.measures.knee import knee
from nestvec.auditing.measures.relevance import (
    judged_queries,
    judgements,
    relevance,
    relevance_values,
)
from nestvec.auditing.ranking.full_ranking import rank
from nestvec.auditing.reporting.worst_queries import most_lost
from nestvec.auditing.types import Variant
from nestvec.errors import InputError


def found(corpus, dims):
    encoded = encode(corpus.documents, corpus.queries, Variant(dims))
    return rank(encoded, 100, np.full(200, -1)).ranking


def values(corpus, dims):
    judged = judgements(corpus.qrels, range(200), range(400))
    return relevance_values(found(corpus, dims).rows, judged)


# Judgements.


def test_judgements_are_rows_in_the_order_of_queries():
    qrels = {"b": {"y": 2, "x": 1, "z": 0}, "a": {"z": 1}, "not here": {"x": 1}}
    judged = judgements(qrels, ["a", "b", "c"], ["x", "y", "z"])
    assert judged.queries.tolist() == [0, 1, 1]
    assert judged.documents.tolist() == [2, 1, 0]
    assert judged.grades.tolist() == [1, 2, 1]
    assert judged_queries(judged).tolist() == [0, 1]


@pytest.mark.parametrize("qrels", [{}, {"a": {"x": 0}}, {"other": {"x": 1}}], ids=str)
def test_judgements_of_no_query_are_refused(qrels):
    with pytest.raises(InputError, match="any of the queries"):
        judgements(qrels, ["a"], ["x"])


def test_a_relevant_document_that_is_not_there_is_named():
    with pytest.raises(InputError, match="'gone'"):
        judgements({"a": {"gone": 1}}, ["a"], ["x"])


# Values.


def test_ndcg_is_that_of_scikit_learn(corpus, rng):
    qrels = {q: {int(d): int(rng.integers(1, 4)) for d in rng.choice(400, 5)} for q in range(20)}
    judged = judgements(qrels, range(200), range(400))
    ranking = found(corpus, 64)
    mine = relevance_values(ranking.rows, judged)["ndcg@10"]
    grades = np.zeros((20, 400))
    for query, row in qrels.items():
        grades[query, list(row)] = list(row.values())
    scores = corpus.queries[:20] @ corpus.documents.T
    assert mine.mean() == pytest.approx(ndcg_score(grades, scores, k=10), abs=1e-6)


def test_queries_without_judgements_have_no_value(corpus):
    judged = judgements({3: {3: 1}, 9: {9: 1}}, range(200), range(400))
    assert [len(v) for v in relevance_values(found(corpus, 64).rows, judged).values()] == [2] * 4


def test_full_against_full_keeps_everything(corpus, rng):
    full = values(corpus, 64)
    metrics = relevance(full, full, rng).metrics
    for name in full:
        assert metrics[f"{name}_retention"] == (1, 1, 1, 200)
    assert metrics["large_losses"].value == 0
    assert metrics["loss_p5"][:3] == (0, 0, 0)


def test_fewer_dims_keep_less(corpus, rng):
    full = values(corpus, 64)
    kept = [
        relevance(full, values(corpus, dims), rng).metrics["ndcg@10_retention"]
        for dims in (32, 8, 3)
    ]
    assert kept[0].value > kept[1].value > kept[2].value
    assert all(estimate.low <= estimate.value <= estimate.high for estimate in kept)
    assert kept[2].high < 0.98


def test_nothing_to_retain_has_no_retention(rng):
    none, some = {"ndcg@10": np.zeros(5)}, {"ndcg@10": np.ones(5) / 2}
    metrics = relevance(none, some, rng).metrics
    assert "ndcg@10_retention" not in metrics
    assert metrics["ndcg@10"].value == 0.5


def test_hurt_queries_are_counted(rng):
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


def test_the_largest_loss_comes_first_and_gains_are_not_shown():
    before, after = np.array([1.0, 1.0, 0.5, 1.0]), np.array([0.9, 0.0, 1.0, 0.9])
    assert most_lost(before, after).tolist() == [1, 0, 3]


# The knee.

DIMS = [8, 16, 32, 64, 128, 256, 512, 1024]


def bent(at, noise, q=500):
    rng = np.random.default_rng(0)
    curve = np.minimum(np.log2(DIMS), np.log2(at)) / 10
    return curve + noise * rng.standard_normal((q, 1)) + noise * rng.standard_normal((q, len(DIMS)))


@pytest.mark.parametrize("at", [32, 64, 128])
def test_a_clear_knee_is_found(at, rng):
    bend = knee(DIMS, bent(at, 0.05), rng)
    assert bend["stable"]
    assert bend["low"] <= at * 1.1
    assert bend["high"] >= at / 1.1
    assert bend["dims"] == pytest.approx(at, rel=0.15)


def test_the_order_of_sizes_does_not_matter(rng):
    curves = bent(64, 0.05)
    turned = knee(DIMS[::-1], curves[:, ::-1], rng)
    assert turned["dims"] == knee(DIMS, curves, rng)["dims"]


def test_noise_and_lines_have_no_stable_knee(rng):
    line = np.log2(DIMS) / 10 + 0.3 * rng.standard_normal((50, len(DIMS)))
    assert not knee(DIMS, line, rng)["stable"]


def test_few_sizes_have_no_stable_knee(rng):
    few = knee(DIMS[:7], bent(64, 0.05)[:, :7], rng)
    assert not few["stable"]
    assert "7 sizes" in few["said"]
