"""Mining: who is asked decides what is found, and an answer is never a negative."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.auditing.measures.margins import triplet_margins
from nestvec.auditing.perturbations.mining import mine_from_other, mine_from_union, mine_from_words
from nestvec.auditing.ranking.full_ranking import rank
from nestvec.auditing.types import Encoded, Judged
from nestvec.errors import InputError

law = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)


def whole(rng, q=5, n=12, dim=3):
    return Encoded(
        rng.integers(-2, 3, (q, dim)).astype(np.float32),
        rng.integers(-2, 3, (n, dim)).astype(np.float32),
    )


def some_judged(rng, q=5, n=12):
    """One to three relevant documents of each query, of grades 1 and 2."""
    pairs = [(row, doc) for row in range(q) for doc in rng.choice(n, rng.integers(1, 4), False)]
    queries, documents = (np.array(side, np.int64) for side in zip(*pairs, strict=True))
    return Judged(queries, documents, rng.integers(1, 3, len(pairs)).astype(float))


def slow_wrong(encoded, judged, own, k):
    """The first k documents of each query that are neither judged nor its own."""
    right = set(zip(judged.queries.tolist(), judged.documents.tolist(), strict=True))
    for row, query in enumerate(encoded.queries):
        scores = encoded.documents @ query
        order = sorted(range(len(scores)), key=lambda doc: (-scores[doc], doc))
        wrong = [doc for doc in order if (row, doc) not in right and doc != own[row]]
        yield from ((row, doc) for doc in wrong[:k])


def ranked(encoded, own):
    depth = len(encoded.documents) - bool((own >= 0).any())
    return rank(encoded, depth, own).ranking.rows


def union(encodings, judged, own, k=10):
    rankings = [ranked(encoded, own) for encoded in encodings]
    return mine_from_union(rankings, judged, own, len(encodings[0].documents), k)


def noisy(rng, encoded, noise):
    spoilt = encoded.documents + noise * rng.standard_normal(encoded.documents.shape)
    return Encoded(encoded.queries, spoilt.astype(np.float32))


@law
@given(seeds, st.integers(1, 4), st.booleans())
def test_the_union_is_what_any_of_the_encodings_gets_wrong_first(seed, k, has_own):
    rng = np.random.default_rng(seed)
    encodings, judged = (whole(rng), whole(rng)), some_judged(rng)
    own = rng.integers(0, 12, 5) if has_own else np.full(5, -1)
    mined = union(encodings, judged, own, k)
    expected = {pair for encoded in encodings for pair in slow_wrong(encoded, judged, own, k)}
    found = list(zip(mined.queries.tolist(), mined.negatives.tolist(), strict=True))
    assert found == sorted(expected)


@law
@given(seeds)
def test_the_positive_is_the_document_judged_best(seed):
    rng = np.random.default_rng(seed)
    judged = some_judged(rng)
    mined = union([whole(rng)], judged, np.full(5, -1), 2)
    for query, positive in zip(mined.queries, mined.positives, strict=True):
        of_query = judged.queries == query
        best = judged.grades[of_query].max()
        equals = judged.documents[of_query & (judged.grades == best)]
        assert positive == equals.min()


def test_below_a_ceiling_the_miner_itself_is_always_right(rng):
    """Why no encoding under audit may filter: another, as good, is not always right."""
    truth = rng.standard_normal((400, 16)).astype(np.float32)
    clean = Encoded(truth[:200] + 0.4 * rng.standard_normal((200, 16)).astype(np.float32), truth)
    miner, twin = noisy(rng, clean, 0.5), noisy(rng, clean, 0.5)
    judged = Judged(np.arange(200), np.arange(200), np.ones(200))
    mined = mine_from_other(miner, judged, np.full(200, -1), ceiling=0.95)
    own, other = (triplet_margins(encoded, mined) > 0 for encoded in (miner, twin))
    assert own.all()
    assert other.mean() < 0.97


def test_a_union_favours_neither_of_two_equally_good_encodings(rng):
    truth = rng.standard_normal((400, 16)).astype(np.float32)
    clean = Encoded(truth[:200] + 0.4 * rng.standard_normal((200, 16)).astype(np.float32), truth)
    one, other = noisy(rng, clean, 0.5), noisy(rng, clean, 0.5)
    judged = Judged(np.arange(200), np.arange(200), np.ones(200))
    mined = union((one, other), judged, np.full(200, -1))
    accuracy, twin = ((triplet_margins(e, mined) > 0).mean() for e in (one, other))
    assert accuracy == pytest.approx(twin, abs=0.05)


def test_a_ceiling_leaves_out_what_scores_nearly_as_well_as_the_answer():
    documents = np.array([[1.0], [0.96], [0.94], [-1.0]], np.float32)
    encoded = Encoded(np.ones((1, 1), np.float32), documents)
    judged = Judged(np.array([0]), np.array([0]), np.ones(1))
    own = np.array([-1])
    assert mine_from_other(encoded, judged, own).negatives.tolist() == [1, 2, 3]
    assert mine_from_other(encoded, judged, own, ceiling=0.95).negatives.tolist() == [2, 3]


def test_where_every_document_answers_nothing_is_mined():
    encoded = Encoded(np.ones((1, 1), np.float32), np.ones((2, 1), np.float32))
    judged = Judged(np.array([0, 0]), np.array([0, 1]), np.ones(2))
    assert union([encoded], judged, np.array([-1])) is None
    with pytest.raises(InputError, match="wrong answer"):
        mine_from_other(encoded, judged, np.array([-1]))


def test_words_find_what_shares_words_and_nothing_else():
    pytest.importorskip("bm25s")
    documents = (
        "the heart of a mouse", "a mouse with a broken heart", "the wing of a jet", "quite other",
    )  # fmt: skip
    judged = Judged(np.array([0]), np.array([0]), np.ones(1))
    mined = mine_from_words(["mouse heart"], documents, judged, np.array([-1]))
    assert mined.negatives.tolist() == [1]
    assert mined.positives.tolist() == [0]
