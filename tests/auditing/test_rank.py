"""Rankings are exact, break ties by row, and never answer a query with itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.auditing.ranking import score_blocks as scoring
from nestvec.auditing.ranking.full_ranking import cut, rank, rescore, scores_of
from nestvec.auditing.types import Encoded, Ranking
from nestvec.errors import InputError

law = settings(deadline=None, max_examples=60)
NONE = np.full(5, -1)


def small(rng, n, q=5, dim=3):
    """Small whole numbers: float32 is exact, and ties are many."""
    return Encoded(
        rng.integers(-2, 3, (q, dim)).astype(np.float32),
        rng.integers(-2, 3, (n, dim)).astype(np.float32),
    )


def slow_rank(encoded, k, own):
    scores = encoded.queries.astype(int) @ encoded.documents.T.astype(int)
    answers = []
    for query, row in enumerate(scores):
        allowed = [j for j in range(len(row)) if j != own[query]]
        answers.append(sorted(allowed, key=lambda j: (-row[j], j))[:k])
    return np.array(answers), scores


@law
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.data())
def test_it_equals_its_slow_twin(seed, n, data):
    rng = np.random.default_rng(seed)
    encoded = small(rng, n)
    k = data.draw(st.integers(1, n - 1))
    own = rng.integers(-1, n, 5)
    rows, scores = slow_rank(encoded, k, own)
    found = rank(encoded, k, own)
    assert (found.ranking.rows == rows).all()
    assert (found.ranking.scores == np.take_along_axis(scores, rows, axis=1)).all()


@law
@given(st.integers(0, 2**32 - 1), st.integers(5, 40))
def test_the_depth_holds_all_that_is_wanted_however_ties_fall(seed, n):
    rng = np.random.default_rng(seed)
    encoded = small(rng, n)
    wanted = np.argsort(rng.random((5, n)), axis=1)[:, :3]
    depths = rank(encoded, 1, NONE, wanted).depths
    scores = encoded.queries @ encoded.documents.T
    for query in range(5):
        worst = min(scores[query, wanted[query]])
        assert depths[query] == sum(scores[query] >= worst)


def test_blocks_change_nothing(corpus, monkeypatch):
    whole = rank(corpus.full, 20, np.full(200, -1)).ranking
    monkeypatch.setattr(scoring, "_SCORES", 30 * len(corpus.documents))
    parts = rank(corpus.full, 20, np.full(200, -1)).ranking
    assert (whole.rows == parts.rows).mean() > 0.999  # a last bit may fall otherwise
    assert np.allclose(whole.scores, parts.scores, atol=1e-6)


def test_progress_counts_queries(corpus):
    done = []
    rank(corpus.full, 5, np.full(200, -1), advance=done.append)
    assert sum(done) == 200


def test_more_answers_than_documents_are_refused(rng):
    with pytest.raises(InputError, match="k=5 answers"):
        rank(small(rng, 5), 5, np.zeros(5, np.int64))


def test_scores_are_inner_products(corpus):
    rows = np.tile(np.array([3, 1, 2]), (200, 1))
    expected = corpus.queries @ corpus.documents[[3, 1, 2]].T
    assert np.allclose(scores_of(corpus.full, rows), expected, atol=1e-6)


@law
@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_rescoring_all_is_the_exact_ranking(seed, n):
    rng = np.random.default_rng(seed)
    full, rough = small(rng, n), small(rng, n)
    exact = rank(full, n, NONE).ranking
    rescored = rescore(full, rank(rough, n, NONE).ranking, n)
    assert (rescored.rows == exact.rows).all()
    assert (rescored.scores == exact.scores).all()


def test_what_is_not_rescored_stays_behind(corpus):
    rough = rank(corpus.full, 20, np.full(200, -1)).ranking
    turned = Ranking(rough.rows[:, ::-1], rough.scores[:, ::-1])
    rescored = rescore(corpus.full, turned, 5)
    assert (rescored.rows[:, :5] == rough.rows[:, 15:]).all()
    assert (rescored.rows[:, 5:] == turned.rows[:, 5:]).all()
    assert (rescored.scores[:, 5:] == -np.inf).all()


def test_a_cut_keeps_the_first(corpus):
    found = rank(corpus.full, 20, np.full(200, -1)).ranking
    assert (cut(found, 7).rows == found.rows[:, :7]).all()
