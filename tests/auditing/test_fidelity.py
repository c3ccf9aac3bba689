"""Fidelity: slow twins, libraries where there are any, and laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from nestvec.auditing.compression.compressor import encode
from nestvec.auditing.measures.agreement import (
    agreement,
    inverse_ratio,
    kendall_tau,
    rank_biased_overlap,
)
from nestvec.auditing.measures.fidelity import (
    effective_rank,
    fidelity,
    geometry,
    resolution,
    shortlist_depth,
)
from nestvec.auditing.ranking.full_ranking import rank, scores_of
from nestvec.auditing.types import Encoded, K, Ranking, Variant

law = settings(deadline=None, max_examples=50)
seeds = st.integers(0, 2**32 - 1)


def nobody(corpus):
    return np.full(len(corpus.queries), -1)


def ranked(corpus, variant):
    encoded = encode(corpus.documents, corpus.queries, variant)
    return encoded, rank(encoded, 100, nobody(corpus)).ranking


# Per query.


def test_full_against_full_agrees_in_everything(corpus):
    exact = rank(corpus.full, 100, nobody(corpus)).ranking
    for name, values in agreement(corpus.full, exact, exact, unit=True).items():
        assert values == pytest.approx(1, abs=1e-5), name


def test_fewer_dims_agree_less(corpus):
    exact = rank(corpus.full, 100, nobody(corpus)).ranking
    names = [f"overlap@{K}", f"overlap_with_ties@{K}", "rbo", "tau", f"inverse_ratio@{K}"]
    means = []
    for dims in (48, 24, 6):
        agreed = agreement(corpus.full, exact, ranked(corpus, Variant(dims))[1], unit=True)
        assert list(agreed) == names
        means.append([agreed[name].mean() for name in names])
    assert (np.diff(means, axis=0) < 0).all()


def test_distances_are_left_out_without_unit_length(corpus):
    exact = rank(corpus.full, 100, nobody(corpus)).ranking
    assert f"inverse_ratio@{K}" not in agreement(corpus.full, exact, exact, unit=False)


def slow_rbo(a, b, p):
    depths = range(1, len(a) + 1)
    weights = [p ** (d - 1) for d in depths]
    shared = [len(set(a[:d]) & set(b[:d])) / d for d in depths]
    return np.dot(weights, shared) / sum(weights)


@law
@given(st.permutations(range(12)), st.permutations(range(12)), st.integers(1, 12))
def test_rank_biased_overlap_equals_its_slow_twin(a, b, k):
    found = rank_biased_overlap(np.array([a[:k]]), np.array([b[:k]]))
    assert found == pytest.approx([slow_rbo(a[:k], b[:k], 0.9)])


@law
@given(seeds)
def test_tau_is_scipy_s_where_both_hold_the_union(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (2, 8)).astype(np.float32)
    rankings = []
    for row in scores:
        order = np.lexsort((np.arange(8), -row))
        rankings.append(Ranking(order[None, :], row[order][None, :]))
    found = kendall_tau(*rankings, k=5)
    union = sorted({*rankings[0].rows[0, :5], *rankings[1].rows[0, :5]})
    if min(len(set(row[union])) for row in scores) > 1:
        assert found == pytest.approx([kendalltau(*scores[:, union]).statistic])
    else:
        assert found == [0]


def test_what_a_ranking_does_not_hold_is_tied_behind():
    exact = Ranking(np.array([[0, 1]]), np.array([[2.0, 1.0]], np.float32))
    found = Ranking(np.array([[2, 3]]), np.array([[2.0, 1.0]], np.float32))
    # Of six pairs (0,1) and (2,3) are tied in one of them and the other four reversed.
    assert kendall_tau(exact, found, k=2) == pytest.approx([-4 / 5])


def test_a_reversed_ranking_has_tau_minus_one():
    scores = np.arange(5, 0, -1, dtype=np.float32)[None, :]
    exact = Ranking(np.arange(5)[None, :], scores)
    found = Ranking(np.arange(5)[None, ::-1].copy(), scores)
    assert kendall_tau(exact, found, k=5) == pytest.approx([-1])


def test_the_inverse_ratio_compares_distances():
    exact = np.array([[0.98, 0.92]], np.float32)  # distances 0.2 and 0.4
    found = np.array([[0.92, 0.5]], np.float32)  # distances 0.4 and 1
    assert inverse_ratio(exact, found) == pytest.approx([(0.2 / 0.4 + 0.4 / 1) / 2], rel=1e-5)


def test_an_equal_document_is_as_near():
    scores = np.array([[1.0, 1.0]], np.float32)
    assert inverse_ratio(scores, scores) == pytest.approx([1])


# Of all queries.


def test_means_and_lost_queries_are_reported(rng):
    agreed = {f"overlap@{K}": np.array([0.0, 0.5, 1.0, 0.5])}
    metrics = fidelity(agreed, np.array([10, 20, 30, 40]), 100, rng).metrics
    assert metrics[f"overlap@{K}"].value == 0.5
    assert metrics["zero_overlap"][::3] == (0.25, 4)
    assert set(metrics) == {f"overlap@{K}", "zero_overlap", "shortlist_95%", "shortlist_99%"}


def test_a_depth_above_what_queries_can_say_is_the_corpus():
    depth = shortlist_depth(np.arange(1, 51), 0.95, rows=1000)
    assert depth == (48, depth.low, 1000, 50)


def test_the_bound_of_a_depth_holds_as_often_as_it_says():
    rng = np.random.default_rng(1)
    truth = np.quantile(rng.geometric(0.01, 10**6), 0.95)
    held = [
        shortlist_depth(rng.geometric(0.01, 200), 0.95, 10**6).high >= truth for _ in range(600)
    ]
    assert np.mean(held) > 0.93


def test_full_against_full_resolves_everything(corpus, rng):
    exact = rank(corpus.full, 100, nobody(corpus)).ranking
    found = resolution(corpus.full, corpus.full, exact, rng)
    assert found.metrics["resolution"].value == found.details["resolution"][0]["gap"]


def test_fewer_dims_resolve_wider_gaps_alone(corpus, rng):
    exact = rank(corpus.full, 100, nobody(corpus)).ranking
    gaps = [
        resolution(corpus.full, ranked(corpus, Variant(dims))[0], exact, rng)
        for dims in (48, 24, 12)
    ]
    values = [gap.metrics["resolution"].value for gap in gaps]
    assert 0 < values[0] < values[1] < values[2]
    assert all(g.metrics["resolution"].low <= g.metrics["resolution"].high for g in gaps)


def test_the_effective_rank_counts_equal_directions():
    assert effective_rank(np.eye(5, dtype=np.float32)) == pytest.approx(5)
    assert effective_rank(np.ones((5, 3), np.float32)) == pytest.approx(1)
    assert effective_rank(np.zeros((5, 3), np.float32)) == 0


def test_a_hub_that_answers_everything_is_seen(corpus, rng):
    _, plain = ranked(corpus, Variant(64))
    rows = plain.rows.copy()
    rows[:, 0] = 399
    skews = [
        geometry(corpus.full, ranking, rng).metrics["hub_skew"].value
        for ranking in (plain, Ranking(rows, plain.scores))
    ]
    assert skews[1] > 3 * max(skews[0], 1)


def test_scores_of_a_variant_are_those_of_its_vectors(corpus):
    encoded, found = ranked(corpus, Variant(8, 1))
    assert isinstance(encoded, Encoded)
    assert (scores_of(encoded, found.rows) == found.scores).all()
