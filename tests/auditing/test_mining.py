"""Mining: its source decides the negatives, and a judged document is never one of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.auditing.measures.margins import triplet_margins
from nestvec.auditing.perturbations.mining import (
    mine_from_bm25,
    mine_from_external,
    mine_from_union,
)
from nestvec.auditing.ranking.full_ranking import rank_all
from nestvec.auditing.types import EmbeddingPair, RelevanceJudgments
from nestvec.errors import InputError

law = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)


def small_integers(rng, q=5, n=12, dim=3):
    return EmbeddingPair(
        rng.integers(-2, 3, (q, dim)).astype(np.float32),
        rng.integers(-2, 3, (n, dim)).astype(np.float32),
    )


def some_judgments(rng, q=5, n=12):
    """One to three relevant documents of each query, of grades 1 and 2."""
    pairs = [(row, doc) for row in range(q) for doc in rng.choice(n, rng.integers(1, 4), False)]
    queries, documents = (np.array(side, np.int64) for side in zip(*pairs, strict=True))
    return RelevanceJudgments(queries, documents, rng.integers(1, 3, len(pairs)).astype(float))


def slow_wrong(embeddings, judgments, self_match, k):
    """The first k documents of each query that are neither judged nor its self-match."""
    relevant = set(zip(judgments.queries.tolist(), judgments.documents.tolist(), strict=True))
    for row, query in enumerate(embeddings.queries):
        scores = embeddings.documents @ query
        order = sorted(range(len(scores)), key=lambda doc: (-scores[doc], doc))
        wrong = [doc for doc in order if (row, doc) not in relevant and doc != self_match[row]]
        yield from ((row, doc) for doc in wrong[:k])


def ranked(embeddings, self_match):
    depth = len(embeddings.documents) - bool((self_match >= 0).any())
    return rank_all(embeddings, depth, self_match).ranking.rows


def union(encodings, judgments, self_match, k=10):
    rankings = [ranked(embeddings, self_match) for embeddings in encodings]
    return mine_from_union(rankings, judgments, self_match, len(encodings[0].documents), k)


def noisy(rng, embeddings, noise):
    noisy_documents = embeddings.documents + noise * rng.standard_normal(embeddings.documents.shape)
    return EmbeddingPair(embeddings.queries, noisy_documents.astype(np.float32))


@law
@given(seeds, st.integers(1, 4), st.booleans())
def test_the_union_holds_the_first_wrong_documents_of_each_encoding(seed, k, has_own):
    rng = np.random.default_rng(seed)
    encodings, judgments = (small_integers(rng), small_integers(rng)), some_judgments(rng)
    self_match = rng.integers(0, 12, 5) if has_own else np.full(5, -1)
    mined = union(encodings, judgments, self_match, k)
    expected = {
        pair
        for embeddings in encodings
        for pair in slow_wrong(embeddings, judgments, self_match, k)
    }
    pairs = list(zip(mined.queries.tolist(), mined.negatives.tolist(), strict=True))
    assert pairs == sorted(expected)


@law
@given(seeds)
def test_the_positive_is_the_document_judged_best(seed):
    rng = np.random.default_rng(seed)
    judgments = some_judgments(rng)
    mined = union([small_integers(rng)], judgments, np.full(5, -1), 2)
    for query, positive in zip(mined.queries, mined.positives, strict=True):
        of_query = judgments.queries == query
        best = judgments.grades[of_query].max()
        equals = judgments.documents[of_query & (judgments.grades == best)]
        assert positive == equals.min()


def test_below_a_ceiling_the_mining_encoder_is_always_correct(rng):
    """Reason why no encoding under audit may filter: an equally good one is not always correct."""
    truth = rng.standard_normal((400, 16)).astype(np.float32)
    clean = EmbeddingPair(
        truth[:200] + 0.4 * rng.standard_normal((200, 16)).astype(np.float32), truth
    )
    miner, twin = noisy(rng, clean, 0.5), noisy(rng, clean, 0.5)
    judgments = RelevanceJudgments(np.arange(200), np.arange(200), np.ones(200))
    mined = mine_from_external(miner, judgments, np.full(200, -1), ceiling=0.95)
    miner_correct, twin_correct = (
        triplet_margins(embeddings, mined) > 0 for embeddings in (miner, twin)
    )
    assert miner_correct.all()
    assert twin_correct.mean() < 0.97


def test_a_union_favours_neither_of_two_equally_good_encodings(rng):
    truth = rng.standard_normal((400, 16)).astype(np.float32)
    clean = EmbeddingPair(
        truth[:200] + 0.4 * rng.standard_normal((200, 16)).astype(np.float32), truth
    )
    miner, twin = noisy(rng, clean, 0.5), noisy(rng, clean, 0.5)
    judgments = RelevanceJudgments(np.arange(200), np.arange(200), np.ones(200))
    mined = union((miner, twin), judgments, np.full(200, -1))
    accuracies = [(triplet_margins(e, mined) > 0).mean() for e in (miner, twin)]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.05)


def test_a_ceiling_leaves_out_documents_that_score_nearly_as_well_as_the_positive():
    documents = np.array([[1.0], [0.96], [0.94], [-1.0]], np.float32)
    embeddings = EmbeddingPair(np.ones((1, 1), np.float32), documents)
    judgments = RelevanceJudgments(np.array([0]), np.array([0]), np.ones(1))
    self_match = np.array([-1])
    assert mine_from_external(embeddings, judgments, self_match).negatives.tolist() == [1, 2, 3]
    assert mine_from_external(
        embeddings, judgments, self_match, ceiling=0.95
    ).negatives.tolist() == [2, 3]


def test_where_every_document_is_relevant_nothing_is_mined():
    embeddings = EmbeddingPair(np.ones((1, 1), np.float32), np.ones((2, 1), np.float32))
    judgments = RelevanceJudgments(np.array([0, 0]), np.array([0, 1]), np.ones(2))
    assert union([embeddings], judgments, np.array([-1])) is None
    with pytest.raises(InputError, match="wrong answer"):
        mine_from_external(embeddings, judgments, np.array([-1]))


def test_bm25_mines_only_documents_that_share_words():
    pytest.importorskip("bm25s")
    documents = (
        "the heart of a mouse", "a mouse with a broken heart", "the wing of a jet", "quite other",
    )  # fmt: skip
    judgments = RelevanceJudgments(np.array([0]), np.array([0]), np.ones(1))
    mined = mine_from_bm25(["mouse heart"], documents, judgments, np.array([-1]))
    assert mined.negatives.tolist() == [1]
    assert mined.positives.tolist() == [0]
