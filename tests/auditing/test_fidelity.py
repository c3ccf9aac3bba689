"""Fidelity: slow twins, libraries where there are any, and laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from nestvec.auditing.compression.variant_encoder import encode_variant
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
from nestvec.auditing.ranking.full_ranking import rank_all, scores_of
from nestvec.auditing.types import EmbeddingPair, K, Ranking, Variant

law = settings(deadline=None, max_examples=50)
seeds = st.integers(0, 2**32 - 1)


def no_self_match(corpus):
    return np.full(len(corpus.queries), -1)


def ranking_by(corpus, variant):
    embeddings = encode_variant(corpus.documents, corpus.queries, variant)
    return embeddings, rank_all(embeddings, 100, no_self_match(corpus)).ranking


# Per query.


def test_full_against_full_agrees_in_everything(corpus):
    baseline = rank_all(corpus.full, 100, no_self_match(corpus)).ranking
    for name, values in agreement(corpus.full, baseline, baseline, unit=True).items():
        assert values == pytest.approx(1, abs=1e-5), name


def test_fewer_dims_agree_less(corpus):
    baseline = rank_all(corpus.full, 100, no_self_match(corpus)).ranking
    names = [f"overlap@{K}", f"overlap_with_ties@{K}", "rbo", "tau", f"inverse_ratio@{K}"]
    means = []
    for dims in (48, 24, 6):
        values_by_name = agreement(
            corpus.full, baseline, ranking_by(corpus, Variant(dims))[1], unit=True
        )
        assert list(values_by_name) == names
        means.append([values_by_name[name].mean() for name in names])
    assert (np.diff(means, axis=0) < 0).all()


def test_distances_are_left_out_without_unit_length(corpus):
    baseline = rank_all(corpus.full, 100, no_self_match(corpus)).ranking
    assert f"inverse_ratio@{K}" not in agreement(corpus.full, baseline, baseline, unit=False)


def slow_rbo(a, b, p):
    depths = range(1, len(a) + 1)
    weights = [p ** (d - 1) for d in depths]
    common = [len(set(a[:d]) & set(b[:d])) / d for d in depths]
    return np.dot(weights, common) / sum(weights)


@law
@given(st.permutations(range(12)), st.permutations(range(12)), st.integers(1, 12))
def test_rank_biased_overlap_equals_its_slow_twin(a, b, k):
    variant = rank_biased_overlap(np.array([a[:k]]), np.array([b[:k]]))
    assert variant == pytest.approx([slow_rbo(a[:k], b[:k], 0.9)])


@law
@given(seeds)
def test_tau_is_scipy_s_where_both_rankings_contain_the_union(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (2, 8)).astype(np.float32)
    rankings = []
    for row in scores:
        order = np.lexsort((np.arange(8), -row))
        rankings.append(Ranking(order[None, :], row[order][None, :]))
    variant = kendall_tau(*rankings, k=5)
    union = sorted({*rankings[0].rows[0, :5], *rankings[1].rows[0, :5]})
    if min(len(set(row[union])) for row in scores) > 1:
        assert variant == pytest.approx([kendalltau(*scores[:, union]).statistic])
    else:
        assert variant == [0]


def test_documents_that_a_ranking_lacks_are_tied_behind():
    baseline = Ranking(np.array([[0, 1]]), np.array([[2.0, 1.0]], np.float32))
    variant = Ranking(np.array([[2, 3]]), np.array([[2.0, 1.0]], np.float32))
    # Of six pairs (0,1) and (2,3) are tied in one of them and the other four reversed.
    assert kendall_tau(baseline, variant, k=2) == pytest.approx([-4 / 5])


def test_a_reversed_ranking_has_tau_minus_one():
    scores = np.arange(5, 0, -1, dtype=np.float32)[None, :]
    baseline = Ranking(np.arange(5)[None, :], scores)
    variant = Ranking(np.arange(5)[None, ::-1].copy(), scores)
    assert kendall_tau(baseline, variant, k=5) == pytest.approx([-1])


def test_the_inverse_ratio_compares_distances():
    baseline = np.array([[0.98, 0.92]], np.float32)  # distances 0.2 and 0.4
    variant = np.array([[0.92, 0.5]], np.float32)  # distances 0.4 and 1
    assert inverse_ratio(baseline, variant) == pytest.approx([(0.2 / 0.4 + 0.4 / 1) / 2], rel=1e-5)


def test_equal_distances_have_ratio_one():
    scores = np.array([[1.0, 1.0]], np.float32)
    assert inverse_ratio(scores, scores) == pytest.approx([1])


# Over all queries.


def test_means_and_the_share_of_zero_overlap_are_reported(rng):
    values_by_name = {f"overlap@{K}": np.array([0.0, 0.5, 1.0, 0.5])}
    metrics = fidelity(values_by_name, np.array([10, 20, 30, 40]), 100, rng).metrics
    assert metrics[f"overlap@{K}"].value == 0.5
    assert metrics["zero_overlap"][::3] == (0.25, 4)
    assert set(metrics) == {f"overlap@{K}", "zero_overlap", "shortlist_95%", "shortlist_99%"}


def test_too_few_queries_bound_a_depth_by_the_corpus_alone():
    depth = shortlist_depth(np.arange(1, 51), 0.95, n=1000)
    assert depth == (48, depth.low, 1000, 50)


def test_the_bound_of_a_depth_holds_with_its_confidence():
    rng = np.random.default_rng(1)
    truth = np.quantile(rng.geometric(0.01, 10**6), 0.95)
    holds = [
        shortlist_depth(rng.geometric(0.01, 200), 0.95, 10**6).high >= truth for _ in range(600)
    ]
    assert np.mean(holds) > 0.93


def test_full_against_full_resolves_everything(corpus, rng):
    baseline = rank_all(corpus.full, 100, no_self_match(corpus)).ranking
    variant = resolution(corpus.full, corpus.full, baseline, rng)
    assert variant.metrics["resolution"].value == variant.details["resolution"][0]["gap"]


def test_fewer_dims_resolve_wider_gaps_alone(corpus, rng):
    baseline = rank_all(corpus.full, 100, no_self_match(corpus)).ranking
    gaps = [
        resolution(corpus.full, ranking_by(corpus, Variant(dims))[0], baseline, rng)
        for dims in (48, 24, 12)
    ]
    values = [gap.metrics["resolution"].value for gap in gaps]
    assert 0 < values[0] < values[1] < values[2]
    assert all(g.metrics["resolution"].low <= g.metrics["resolution"].high for g in gaps)


def test_the_effective_rank_counts_equal_directions():
    assert effective_rank(np.eye(5, dtype=np.float32)) == pytest.approx(5)
    assert effective_rank(np.ones((5, 3), np.float32)) == pytest.approx(1)
    assert effective_rank(np.zeros((5, 3), np.float32)) == 0


def test_a_hub_raises_the_skewness(corpus, rng):
    _, plain = ranking_by(corpus, Variant(64))
    rows = plain.rows.copy()
    rows[:, 0] = 399
    skews = [
        geometry(corpus.full, ranking, rng).metrics["hub_skew"].value
        for ranking in (plain, Ranking(rows, plain.scores))
    ]
    assert skews[1] > 3 * max(skews[0], 1)


def test_scores_of_a_variant_are_those_of_its_vectors(corpus):
    embeddings, variant = ranking_by(corpus, Variant(8, 1))
    assert isinstance(embeddings, EmbeddingPair)
    assert (scores_of(embeddings, variant.rows) == variant.scores).all()
