"""Stress: what is done to queries is what was said, and interaction tells who suffers from it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.auditing.measures.paired import Paired
from nestvec.auditing.measures.stress import (
    asymmetry,
    long_tail,
    noisy_queries,
    out_of_distribution,
    quarters,
    slice_stress,
    strangeness,
    stress,
)
from nestvec.errors import InputError

law = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**32 - 1)


def vectors(rng, n=40, dim=8):
    return rng.standard_normal((n, dim)).astype(np.float32)


@law
@given(seeds, st.floats(0.1, 1), st.integers(2, 30))
def test_noise_turns_by_the_angle_asked_for_and_keeps_lengths(seed, cosine, dim):
    rng = np.random.default_rng(seed)
    queries = vectors(rng, dim=dim)
    noisy = noisy_queries(queries, cosine, rng).astype(float)
    lengths = np.linalg.norm(queries.astype(float), axis=1)
    np.testing.assert_allclose(np.linalg.norm(noisy, axis=1), lengths, rtol=1e-5)
    cosines = (noisy * queries).sum(axis=1) / lengths**2
    np.testing.assert_allclose(cosines, cosine, atol=1e-5)


@law
@given(seeds)
def test_no_noise_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    queries = vectors(rng)
    np.testing.assert_array_equal(noisy_queries(queries, 1.0, rng), queries)


def test_zero_queries_stay_zero(rng):
    assert not noisy_queries(np.zeros((2, 4), np.float32), 0.9, rng).any()


@pytest.mark.parametrize("cosine", [0.0, 1.1, float("nan")])
def test_impossible_angles_are_refused(rng, cosine):
    with pytest.raises(InputError, match="cosine"):
        noisy_queries(vectors(rng), cosine, rng)


def test_a_variant_that_suffers_more_is_below_one(rng):
    clean = Paired(np.ones(300), np.full(300, 0.9))
    stressed = Paired(rng.random(300) < 0.9, rng.random(300) < 0.5)
    stressed = Paired(*(side.astype(float) for side in stressed))
    found = stress("typos", clean, stressed, rng)
    assert found.metrics["typos_interaction"].high < 0.8
    assert found.metrics["typos_retention"].value < 0.7
    assert found.details["typos"]["clean"]["variant"]["value"] == pytest.approx(0.9)


def test_what_the_full_vectors_cannot_answer_has_no_retention(rng):
    clean, stressed = Paired(np.ones(9), np.ones(9)), Paired(np.zeros(9), np.ones(9))
    assert stress("typos", clean, stressed, rng).metrics == {}


def test_a_variant_that_loses_the_far_quarter_is_found_out(rng):
    distances = rng.permutation(400).astype(float)
    values = Paired(np.ones(400), np.where(quarters(distances) == 3, 0.5, 1.0))
    found = out_of_distribution(values, distances, rng)
    assert found.metrics["farthest_quarter_interaction"].value == pytest.approx(0.5)
    table = found.details["farthest_quarter"]["quarters"]
    assert [row["variant"]["value"] for row in table] == [1, 1, 1, 0.5]


@law
@given(seeds, st.integers(4, 30))
def test_quarters_are_equal_in_size_and_in_order(seed, q):
    distances = np.random.default_rng(seed).integers(0, 5, q).astype(float)
    quarter = quarters(distances)
    sizes = np.bincount(quarter, minlength=4)
    assert sizes.max() - sizes.min() <= 1
    assert (np.diff(quarter[np.argsort(distances, kind="stable")]) >= 0).all()


def test_queries_from_elsewhere_are_strange(rng):
    documents = vectors(rng, 500)
    inside, outside = vectors(rng, 50), vectors(rng, 50) + 6
    assert strangeness(outside, documents).min() > strangeness(inside, documents).max()


def test_strangeness_is_in_standard_deviations_of_the_corpus(rng):
    documents = vectors(rng, 5000) * np.array([10, 1, 1, 1, 1, 1, 1, 1], np.float32)
    along, across = np.zeros((2, 1, 8), np.float32)
    along[0, 0], across[0, 1] = 10, 10
    assert strangeness(along, documents)[0] == pytest.approx(1, abs=0.1)
    assert strangeness(across, documents)[0] > 5


def test_documents_that_are_all_alike_still_have_an_outside():
    same = np.ones((5, 3), np.float32)
    near, far = strangeness(np.array([[1, 1, 1], [9, 9, 9]], np.float32), same)
    assert near == 0 < far


def test_the_rarest_tenth_includes_all_that_are_as_rare(rng):
    frequencies = np.repeat([1, 2, 50], [2, 3, 25])
    values = Paired(np.ones(30), np.where(frequencies <= 2, 0.0, 1.0))
    found = long_tail(values, frequencies, rng)
    assert found.metrics["rarest_tenth_retention"].n == 5
    assert found.metrics["rarest_tenth_retention"].value == 0


def test_a_part_that_is_everything_is_refused(rng):
    with pytest.raises(InputError, match="must be others"):
        slice_stress("all", Paired(np.ones(4), np.ones(4)), np.ones(4, bool), rng)


def test_each_side_is_retained_by_itself(rng):
    by_side = {"both": np.full(20, 0.5), "documents": np.full(20, 0.75)}
    metrics = asymmetry(np.ones(20), by_side, rng).metrics
    assert {name: estimate.value for name, estimate in metrics.items()} == {
        "retention_both": 0.5,
        "retention_documents": 0.75,
    }
