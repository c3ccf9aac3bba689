"""Rankings are exact, break ties by row, and never contain a self-match."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec import exact_top_k as scoring
from nestvec.auditing.ranking.full_ranking import first_k, rank_all, rerank, scores_of
from nestvec.auditing.types import EmbeddingPair, Ranking
from nestvec.errors import InputError

law = settings(deadline=None, max_examples=60)
NONE = np.full(5, -1)


def small(rng, n, q=5, dim=3):
    """Small whole numbers: float32 is exact, and ties are many."""
    return EmbeddingPair(
        rng.integers(-2, 3, (q, dim)).astype(np.float32),
        rng.integers(-2, 3, (n, dim)).astype(np.float32),
    )


def slow_rank(embeddings, k, self_match):
    scores = embeddings.queries.astype(int) @ embeddings.documents.T.astype(int)
    rankings = []
    for query, row in enumerate(scores):
        allowed = [j for j in range(len(row)) if j != self_match[query]]
        rankings.append(sorted(allowed, key=lambda j: (-row[j], j))[:k])
    return np.array(rankings), scores


@law
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.data())
def test_the_ranking_equals_its_slow_twin(seed, n, data):
    rng = np.random.default_rng(seed)
    embeddings = small(rng, n)
    k = data.draw(st.integers(1, n - 1))
    self_match = rng.integers(-1, n, 5)
    rows, scores = slow_rank(embeddings, k, self_match)
    ranking = rank_all(embeddings, k, self_match).ranking
    assert (ranking.rows == rows).all()
    assert (ranking.scores == np.take_along_axis(scores, rows, axis=1)).all()


@law
@given(st.integers(0, 2**32 - 1), st.integers(5, 40))
def test_the_depth_contains_all_targets_however_ties_fall(seed, n):
    rng = np.random.default_rng(seed)
    embeddings = small(rng, n)
    targets = np.argsort(rng.random((5, n)), axis=1)[:, :3]
    depths = rank_all(embeddings, 1, NONE, targets).depths
    scores = embeddings.queries @ embeddings.documents.T
    for query in range(5):
        worst = min(scores[query, targets[query]])
        assert depths[query] == sum(scores[query] >= worst)


def test_the_size_of_a_block_does_not_matter(corpus, monkeypatch):
    at_once = rank_all(corpus.full, 20, np.full(200, -1)).ranking
    monkeypatch.setattr(scoring, "_BLOCK_SCORES", 30 * len(corpus.documents))
    in_blocks = rank_all(corpus.full, 20, np.full(200, -1)).ranking
    assert (at_once.rows == in_blocks.rows).mean() > 0.999  # a last bit may fall otherwise
    assert np.allclose(at_once.scores, in_blocks.scores, atol=1e-6)


def test_progress_counts_queries(corpus):
    ranked = []
    rank_all(corpus.full, 5, np.full(200, -1), advance=ranked.append)
    assert sum(ranked) == 200


def test_a_k_above_the_number_of_documents_is_refused(rng):
    with pytest.raises(InputError, match="k=5 answers"):
        rank_all(small(rng, 5), 5, np.zeros(5, np.int64))


def test_scores_are_inner_products(corpus):
    rows = np.tile(np.array([3, 1, 2]), (200, 1))
    expected = corpus.queries @ corpus.documents[[3, 1, 2]].T
    assert np.allclose(scores_of(corpus.full, rows), expected, atol=1e-6)


@law
@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_reranking_everything_gives_the_exact_ranking(seed, n):
    rng = np.random.default_rng(seed)
    full, rough = small(rng, n), small(rng, n)
    exact = rank_all(full, n, NONE).ranking
    reranked = rerank(full, rank_all(rough, n, NONE).ranking, n)
    assert (reranked.rows == exact.rows).all()
    assert (reranked.scores == exact.scores).all()


def test_rows_behind_the_shortlist_stay_there(corpus):
    rough = rank_all(corpus.full, 20, np.full(200, -1)).ranking
    reversed_ = Ranking(rough.rows[:, ::-1], rough.scores[:, ::-1])
    reranked = rerank(corpus.full, reversed_, 5)
    assert (reranked.rows[:, :5] == rough.rows[:, 15:]).all()
    assert (reranked.rows[:, 5:] == reversed_.rows[:, 5:]).all()
    assert (reranked.scores[:, 5:] == -np.inf).all()


def test_first_k_keeps_the_best_rows(corpus):
    ranking = rank_all(corpus.full, 20, np.full(200, -1)).ranking
    assert (first_k(ranking, 7).rows == ranking.rows[:, :7]).all()
