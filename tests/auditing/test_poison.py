"""Poisoning: centres of queries attack the queries near them."""

import numpy as np
import pytest

from nestvec.auditing.measures.paired import Paired
from nestvec.auditing.measures.poisoning import beaten, plant, poisoning
from nestvec.auditing.types import Encoded
from nestvec.errors import InputError


def clustered(rng, clusters=4, each=30, dim=16):
    """Queries about a few topics; documents about none of them, all of unit length."""
    centres = 3 * rng.standard_normal((clusters, dim))
    queries = np.repeat(centres, each, axis=0) + 0.3 * rng.standard_normal((clusters * each, dim))
    documents = rng.standard_normal((200, dim))
    return Encoded(
        (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32),
        (documents / np.linalg.norm(documents, axis=1, keepdims=True)).astype(np.float32),
    )


def tenth_scores(encoded, rows):
    return np.sort(encoded.queries[rows] @ encoded.documents.T, axis=1)[:, -10]


def reached(queries, planted, kth_scores):
    return beaten(queries, planted, kth_scores).any(axis=1)


def test_centres_of_queries_reach_the_queries_that_were_held_out(rng):
    full = clustered(rng)
    plants = plant(full, rng)
    scores = tenth_scores(full, plants.held_out)
    assert reached(full.queries[plants.held_out], plants.vectors, scores).mean() > 0.9


def test_random_documents_seldom_do(rng):
    full = clustered(rng)
    held_out = plant(full, rng).held_out
    strangers = full.documents[:1, ::-1].copy()
    assert reached(full.queries[held_out], strangers, tenth_scores(full, held_out)).mean() < 0.5


def test_half_of_the_queries_are_held_out_and_plants_are_as_long_as_documents(rng):
    full = clustered(rng)
    longer = Encoded(full.queries, 7 * full.documents)
    plants = plant(longer, rng, 5)
    assert len(plants.held_out) == len(full.queries) // 2
    np.testing.assert_allclose(np.linalg.norm(plants.vectors, axis=1), 7, rtol=1e-5)


def test_a_plant_loses_ties_to_older_documents():
    one = np.ones((1, 1), np.float32)
    assert reached(one, one, np.ones(1, np.float32)).tolist() == [0]


def test_fewer_different_queries_than_plants_are_no_obstacle(rng):
    same = Encoded(np.ones((20, 3), np.float32), np.ones((5, 3), np.float32))
    assert plant(same, rng, 4).vectors.shape == (4, 3)


def test_more_plants_than_queries_are_refused(rng):
    with pytest.raises(InputError, match="plant"):
        plant(clustered(rng), rng, 61)


def test_an_attack_that_gains_nothing_has_gain_zero(rng):
    found = poisoning(Paired(np.eye(4)[0], np.eye(4)[0]), rng)
    assert found.metrics["attack_gain"][:3] == (0, 0, 0)
    assert found.metrics["attack_success"].value == found.details["poisoning"]["full"]["value"]
