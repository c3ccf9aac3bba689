"""Poisoning: centres of queries attack the queries near them."""

import numpy as np
import pytest

from nestvec.auditing.measures.paired import Paired
from nestvec.auditing.measures.poisoning import make_planted, poisoning, reaches_top_k
from nestvec.auditing.types import EmbeddingPair
from nestvec.errors import InputError


def clustered(rng, clusters=4, each=30, dim=16):
    """Queries about a few topics; documents about none of them, all of unit length."""
    centres = 3 * rng.standard_normal((clusters, dim))
    queries = np.repeat(centres, each, axis=0) + 0.3 * rng.standard_normal((clusters * each, dim))
    documents = rng.standard_normal((200, dim))
    return EmbeddingPair(
        (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32),
        (documents / np.linalg.norm(documents, axis=1, keepdims=True)).astype(np.float32),
    )


def tenth_scores(embeddings, rows):
    return np.sort(embeddings.queries[rows] @ embeddings.documents.T, axis=1)[:, -10]


def is_reached(queries, planted, kth_scores):
    return reaches_top_k(queries, planted, kth_scores).any(axis=1)


def test_centres_of_queries_reach_the_queries_that_were_held_out(rng):
    full = clustered(rng)
    planted = make_planted(full, rng)
    scores = tenth_scores(full, planted.held_out)
    assert is_reached(full.queries[planted.held_out], planted.vectors, scores).mean() > 0.9


def test_random_documents_seldom_reach_queries(rng):
    full = clustered(rng)
    held_out = make_planted(full, rng).held_out
    random_documents = full.documents[:1, ::-1].copy()
    assert (
        is_reached(full.queries[held_out], random_documents, tenth_scores(full, held_out)).mean()
        < 0.5
    )


def test_half_of_the_queries_are_held_out_and_planted_documents_are_as_long_as_others(rng):
    full = clustered(rng)
    longer = EmbeddingPair(full.queries, 7 * full.documents)
    planted = make_planted(longer, rng, 5)
    assert len(planted.held_out) == len(full.queries) // 2
    np.testing.assert_allclose(np.linalg.norm(planted.vectors, axis=1), 7, rtol=1e-5)


def test_a_planted_document_loses_ties():
    one = np.ones((1, 1), np.float32)
    assert is_reached(one, one, np.ones(1, np.float32)).tolist() == [0]


def test_there_may_be_fewer_different_queries_than_planted_documents(rng):
    equal_queries = EmbeddingPair(np.ones((20, 3), np.float32), np.ones((5, 3), np.float32))
    assert make_planted(equal_queries, rng, 4).vectors.shape == (4, 3)


def test_more_planted_documents_than_queries_are_refused(rng):
    with pytest.raises(InputError, match="plant"):
        make_planted(clustered(rng), rng, 61)


def test_an_attack_that_gains_nothing_has_gain_zero(rng):
    result = poisoning(Paired(np.eye(4)[0], np.eye(4)[0]), rng)
    assert result.metrics["attack_gain"][:3] == (0, 0, 0)
    assert result.metrics["attack_success"].value == result.details["poisoning"]["full"]["value"]
