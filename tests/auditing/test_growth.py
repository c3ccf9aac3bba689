"""Corpus growth: exact for smaller corpora, modelled for larger ones, with the limits of both."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import genpareto, hypergeom

from nestvec.auditing.measures.distractors import Distractors, count_distractors
from nestvec.auditing.measures.growth import corpus_growth
from nestvec.auditing.types import EmbeddingPair, RelevanceJudgments
from nestvec.errors import InputError

law = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)


def distractors_of(wins, n):
    """Queries with one judged document each, and the wins of `n` distractors over it."""
    wins = np.asarray(wins, np.int64)
    q = len(wins)
    return Distractors(
        np.arange(q), np.full(q, n), wins, 0, np.zeros(q), np.ones(q), np.full(q, 0.5)
    )


def independent(rng, q, n, positive_score, draw):
    """Draw distractors of each query alone; its positive scores `positive_score`."""
    scores = np.concatenate([draw((n, q)), positive_score * np.eye(q)]).astype(np.float32)
    # Other queries' positives would be distractors that score 0; here they are below all.
    scores[n:][~np.eye(q, dtype=bool)] = -100
    judgments = RelevanceJudgments(np.arange(q), n + np.arange(q), np.ones(q))
    return count_distractors(
        EmbeddingPair(np.eye(q, dtype=np.float32), scores), judgments, np.full(q, -1)
    )


@law
@given(st.integers(0, 7), st.integers(0, 7), st.integers(1, 7), st.integers(1, 4))
def test_recall_among_fewer_is_the_mean_over_all_smaller_corpora(b, others, m, k):
    n = b + others
    if not 1 <= m <= n:
        return
    result = [sum(row < b for row in subset) < k for subset in combinations(range(n), m)]
    assert distractors_of([b], n).recall_among(m, k) == pytest.approx([np.mean(result)])


@pytest.mark.parametrize("k", [1, 10, 100])
def test_a_million_distractors_lose_little_to_rounding(k):
    wins = np.array([0, 1, 50, 1000, 400_000])
    for m in (100, 10_000, 1_000_000):
        expected = hypergeom.cdf(k - 1, 1_000_000, wins, m)
        result = distractors_of(wins, 1_000_000).recall_among(m, k)
        np.testing.assert_allclose(result, expected, atol=1e-7)


@law
@given(seeds, st.integers(1, 5))
def test_recall_among_all_is_recall(seed, k):
    wins = np.random.default_rng(seed).integers(0, 10, 8)
    assert (distractors_of(wins, 10).recall_among(10, k) == (wins < k)).all()


@law
@given(seeds)
def test_distractors_are_neither_judged_nor_self_matches(seed):
    rng = np.random.default_rng(seed)
    queries = rng.integers(-2, 3, (5, 3)).astype(np.float32)
    documents = rng.integers(-2, 3, (12, 3)).astype(np.float32)
    pairs = [(row, doc) for row in (0, 1, 3) for doc in rng.choice(12, 2, replace=False)]
    query_rows, docs = (np.array(side) for side in zip(*pairs, strict=True))
    self_match = rng.integers(-1, 12, 5)
    result = count_distractors(
        EmbeddingPair(queries, documents),
        RelevanceJudgments(query_rows, docs, np.ones(6)),
        self_match,
    )
    for i, (row, doc) in enumerate(pairs):
        others = [d for d in range(12) if (row, d) not in pairs and d != self_match[row]]
        scores = documents @ queries[row]
        assert result.counts[i] == len(others)
        assert result.wins_over_positive[i] == sum(scores[d] >= scores[doc] for d in others)


def test_a_query_without_distractors_is_refused():
    embeddings = EmbeddingPair(np.ones((1, 1), np.float32), np.ones((2, 1), np.float32))
    judgments = RelevanceJudgments(np.array([0, 0]), np.array([0, 1]), np.ones(2))
    with pytest.raises(InputError, match="distractor"):
        count_distractors(embeddings, judgments, np.array([-1]))


@pytest.mark.parametrize("shape", [-0.5, 0.0, 0.25])
def test_the_shape_of_the_tail_is_estimated(rng, shape):
    def draw(size):
        return genpareto.rvs(shape, size=size, random_state=rng)

    assert independent(rng, 40, 4000, 1.0, draw).shape == pytest.approx(shape, abs=0.05)


def test_the_model_is_near_the_truth_at_ten_times_the_corpus(rng):
    # Of 1000 queries with 1000 distractors each, some answers beat them all; a plug-in never fails.
    p, n = 2e-4, 1000
    positive_score = -np.log(p)
    result = independent(rng, 300, n, positive_score, lambda size: rng.exponential(size=size))
    truth = (1 - p) ** (10 * n)
    plug_in = np.mean((1 - result.wins_over_positive / result.counts) ** (10 * n))
    modelled = corpus_growth(result, result, 1, rng).metrics["recall@1_at_tenfold"]
    assert plug_in > truth + 0.5
    assert modelled.low - 0.1 < truth < modelled.high + 0.1


def test_without_a_model_the_rule_of_three_bounds_the_size(rng):
    result = corpus_growth(distractors_of([0] * 50, 5800), distractors_of([0] * 50, 5800), 1, rng)
    assert result.details["corpus_growth"]["shown_to"] == pytest.approx(100, abs=2)


def test_half_size_is_the_half_life(rng):
    # p = 0.01: ln 2 / p is 69.
    result = distractors_of([100] * 50, 10_000)
    half = corpus_growth(result, result, 1, rng).metrics["half_size"]
    assert half.value == pytest.approx(69, rel=0.1)


def test_a_corpus_too_small_for_a_tail_is_not_extrapolated(rng):
    result = corpus_growth(distractors_of([0, 3], 50), distractors_of([1, 3], 50), 1, rng)
    assert result.details["corpus_growth"]["modelled_to"] is None
    assert "recall@1_at_tenfold" not in result.metrics
    assert {point["basis"] for point in result.details["corpus_growth"]["curve"]} == {"exact"}


def test_recall_never_rises_with_the_corpus(rng):
    result = independent(rng, 30, 400, 2.5, rng.standard_normal)
    curve = corpus_growth(result, result, 5, rng).details["corpus_growth"]["curve"]
    exact = [point["recall"]["value"] for point in curve if point["basis"] == "exact"]
    assert (np.diff(exact) <= 1e-9).all()
    assert exact[0] == pytest.approx(1, abs=0.05)


def test_equal_distractors_retain_everything(rng):
    result = distractors_of([0, 1, 5, 200], 1000)
    metrics = corpus_growth(result, result, 10, rng).metrics
    assert metrics["retention_at_n"].value == 1
    assert metrics["retention_at_tenth"].value == 1


def test_a_k_above_the_number_of_distractors_is_refused(rng):
    with pytest.raises(InputError, match="k=11"):
        corpus_growth(distractors_of([1], 10), distractors_of([1], 10), 11, rng)
