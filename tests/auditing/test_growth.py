"""Corpus growth: exact downwards, modelled upwards, and honest about where the one ends."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import genpareto, hypergeom

from nestvec.auditing.measures.distractors import Distractors, distractors
from nestvec.auditing.measures.growth import corpus_growth
from nestvec.auditing.types import Encoded, Judged
from nestvec.errors import InputError

law = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)


def standing(beaten_by, n):
    """Queries with one judged document each, beaten by so many of `n` distractors."""
    beaten_by = np.asarray(beaten_by, np.int64)
    q = len(beaten_by)
    return Distractors(
        np.arange(q), np.full(q, n), beaten_by, 0, np.zeros(q), np.ones(q), np.full(q, 0.5)
    )


def independent(rng, q, n, answer, draw):
    """Every query has distractors of its own: scores are drawn, the answer scores `answer`."""
    scores = np.concatenate([draw((n, q)), answer * np.eye(q)]).astype(np.float32)
    # Other queries' answers would be distractors that score 0; here they are below all.
    scores[n:][~np.eye(q, dtype=bool)] = -100
    judged = Judged(np.arange(q), n + np.arange(q), np.ones(q))
    return distractors(Encoded(np.eye(q, dtype=np.float32), scores), judged, np.full(q, -1))


@law
@given(st.integers(0, 7), st.integers(0, 7), st.integers(1, 7), st.integers(1, 4))
def test_recall_among_fewer_is_the_mean_over_all_smaller_corpora(b, others, m, k):
    n = b + others
    if not 1 <= m <= n:
        return
    found = [sum(row < b for row in subset) < k for subset in combinations(range(n), m)]
    assert standing([b], n).recall_among(m, k) == pytest.approx([np.mean(found)])


@pytest.mark.parametrize("k", [1, 10, 100])
def test_a_million_distractors_lose_little_to_rounding(k):
    beaten_by = np.array([0, 1, 50, 1000, 400_000])
    for m in (100, 10_000, 1_000_000):
        expected = hypergeom.cdf(k - 1, 1_000_000, beaten_by, m)
        found = standing(beaten_by, 1_000_000).recall_among(m, k)
        np.testing.assert_allclose(found, expected, atol=1e-7)


@law
@given(seeds, st.integers(1, 5))
def test_recall_among_all_is_recall(seed, k):
    beaten_by = np.random.default_rng(seed).integers(0, 10, 8)
    assert (standing(beaten_by, 10).recall_among(10, k) == (beaten_by < k)).all()


@law
@given(seeds)
def test_distractors_are_what_neither_answers_nor_asked(seed):
    rng = np.random.default_rng(seed)
    queries = rng.integers(-2, 3, (5, 3)).astype(np.float32)
    documents = rng.integers(-2, 3, (12, 3)).astype(np.float32)
    pairs = [(row, doc) for row in (0, 1, 3) for doc in rng.choice(12, 2, replace=False)]
    of, docs = (np.array(side) for side in zip(*pairs, strict=True))
    own = rng.integers(-1, 12, 5)
    found = distractors(Encoded(queries, documents), Judged(of, docs, np.ones(6)), own)
    for i, (row, doc) in enumerate(pairs):
        others = [d for d in range(12) if (row, d) not in pairs and d != own[row]]
        scores = documents @ queries[row]
        assert found.counts[i] == len(others)
        assert found.beaten_by[i] == sum(scores[d] >= scores[doc] for d in others)


def test_a_query_without_distractors_is_refused():
    encoded = Encoded(np.ones((1, 1), np.float32), np.ones((2, 1), np.float32))
    judged = Judged(np.array([0, 0]), np.array([0, 1]), np.ones(2))
    with pytest.raises(InputError, match="distractor"):
        distractors(encoded, judged, np.array([-1]))


@pytest.mark.parametrize("shape", [-0.5, 0.0, 0.25])
def test_the_shape_of_the_tail_is_found(rng, shape):
    def draw(size):
        return genpareto.rvs(shape, size=size, random_state=rng)

    assert independent(rng, 40, 4000, 1.0, draw).shape == pytest.approx(shape, abs=0.05)


def test_the_model_is_near_the_truth_at_ten_times_the_corpus(rng):
    # Of 1000 queries with 1000 distractors each, some answers beat them all; a plug-in never fails.
    p, n = 2e-4, 1000
    answer = -np.log(p)
    found = independent(rng, 300, n, answer, lambda size: rng.exponential(size=size))
    truth = (1 - p) ** (10 * n)
    plug_in = np.mean((1 - found.beaten_by / found.counts) ** (10 * n))
    modelled = corpus_growth(found, found, 1, rng).metrics["recall@1_at_tenfold"]
    assert plug_in > truth + 0.5
    assert modelled.low - 0.1 < truth < modelled.high + 0.1


def test_without_a_model_as_much_is_certain_as_the_rule_of_three_says(rng):
    found = corpus_growth(standing([0] * 50, 5800), standing([0] * 50, 5800), 1, rng)
    assert found.details["corpus_growth"]["certified_to"] == pytest.approx(100, abs=2)


def test_half_of_the_answers_are_lost_where_the_half_life_says(rng):
    # p = 0.01: ln 2 / p is 69.
    found = standing([100] * 50, 10_000)
    half = corpus_growth(found, found, 1, rng).metrics["half_size"]
    assert half.value == pytest.approx(69, rel=0.1)


def test_a_corpus_too_small_for_a_tail_is_not_extrapolated(rng):
    found = corpus_growth(standing([0, 3], 50), standing([1, 3], 50), 1, rng)
    assert found.details["corpus_growth"]["modelled_to"] is None
    assert "recall@1_at_tenfold" not in found.metrics
    assert {point["basis"] for point in found.details["corpus_growth"]["curve"]} == {"exact"}


def test_recall_never_rises_with_the_corpus(rng):
    found = independent(rng, 30, 400, 2.5, rng.standard_normal)
    curve = corpus_growth(found, found, 5, rng).details["corpus_growth"]["curve"]
    exact = [point["recall"]["value"] for point in curve if point["basis"] == "exact"]
    assert (np.diff(exact) <= 1e-9).all()
    assert exact[0] == pytest.approx(1, abs=0.05)


def test_the_same_standing_is_wholly_retained(rng):
    found = standing([0, 1, 5, 200], 1000)
    metrics = corpus_growth(found, found, 10, rng).metrics
    assert metrics["retention_at_n"].value == 1
    assert metrics["retention_at_tenth"].value == 1


def test_more_answers_than_distractors_are_refused(rng):
    with pytest.raises(InputError, match="k=11"):
        corpus_growth(standing([1], 10), standing([1], 10), 11, rng)
