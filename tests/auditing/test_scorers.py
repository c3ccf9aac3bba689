"""Scorers: full vectors decide within a shortlist, and the shortlist decides the rest."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.auditing.ranking.scorers import HitsScorer, ShortlistScorer, VectorScorer
from nestvec.auditing.types import EmbeddingPair, Ranking, Triplets

law = settings(deadline=None, max_examples=30)
Q, N = 4, 9


def random_case(seed, t=15):
    rng = np.random.default_rng(seed)
    full = EmbeddingPair(
        rng.integers(-2, 3, (Q, 3)).astype(np.float32),
        rng.integers(-2, 3, (N, 3)).astype(np.float32),
    )
    columns = rng.integers(0, [Q, N, N], (t, 3))
    shortlist = np.stack([rng.permutation(N)[:4] for _ in range(Q)])
    return full, Triplets(*columns.T.copy(), ("any",) * t), shortlist


@law
@given(st.integers(0, 2**32 - 1))
def test_with_everything_in_the_shortlist_full_vectors_decide(seed):
    full, triplets, _ = random_case(seed)
    everything = ShortlistScorer(full, np.tile(np.arange(N), (Q, 1)))
    np.testing.assert_array_equal(
        everything.margins(triplets), VectorScorer(full).margins(triplets)
    )


@law
@given(st.integers(0, 2**32 - 1))
def test_a_document_outside_the_shortlist_loses(seed):
    full, triplets, shortlist = random_case(seed)
    margins, by_full = (
        scorer.margins(triplets)
        for scorer in (ShortlistScorer(full, shortlist), VectorScorer(full))
    )
    for i, (query, positive, negative) in enumerate(
        zip(triplets.queries, triplets.positives, triplets.negatives, strict=True)
    ):
        if positive not in shortlist[query]:
            assert margins[i] == -np.inf
        elif negative not in shortlist[query]:
            assert margins[i] == np.inf
        else:
            assert margins[i] == by_full[i]


@law
@given(st.integers(0, 2**32 - 1))
def test_a_document_outside_the_corpus_is_in_every_shortlist(seed):
    full, triplets, shortlist = random_case(seed)
    outside_corpus = np.full(N, -1)
    scorer = ShortlistScorer(full, shortlist, outside_corpus)
    np.testing.assert_array_equal(scorer.margins(triplets), VectorScorer(full).margins(triplets))


def test_a_shortlist_s_margins_have_no_scale():
    full, _, shortlist = random_case(0)
    assert ShortlistScorer(full, shortlist).score_std(np.random.default_rng(0)) is None


@law
@given(st.integers(0, 2**32 - 1))
def test_hits_decide_by_their_scores_and_a_positive_outside_loses(seed):
    full, triplets, shortlist = random_case(seed)
    scores = np.take_along_axis(full.queries @ full.documents.T, shortlist, axis=1)
    margins = HitsScorer(Ranking(shortlist, scores)).margins(triplets)
    np.testing.assert_array_equal(
        margins, ShortlistScorer(full, shortlist).margins(triplets).astype(np.float64)
    )
