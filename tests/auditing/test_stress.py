"""Stress: perturbations are as large as requested, and the interaction shows who suffers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.auditing.measures.paired import Paired
from nestvec.auditing.measures.stress import (
    distance_quarters,
    long_tail,
    mahalanobis_distance,
    noisy_queries,
    out_of_distribution,
    perturbation_effect,
    slice_effect,
)
from nestvec.errors import InputError

law = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**32 - 1)


def vectors(rng, n=40, dim=8):
    return rng.standard_normal((n, dim)).astype(np.float32)


@law
@given(seeds, st.floats(0.1, 1), st.integers(2, 30))
def test_noise_turns_by_the_requested_angle_and_preserves_lengths(seed, cosine, dim):
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
    result = perturbation_effect("typos", clean, stressed, rng)
    assert result.metrics["typos_interaction"].high < 0.8
    assert result.metrics["typos_retention"].value < 0.7
    assert result.details["typos"]["clean"]["variant"]["value"] == pytest.approx(0.9)


def test_a_baseline_of_zero_has_no_retention(rng):
    clean, stressed = Paired(np.ones(9), np.ones(9)), Paired(np.zeros(9), np.ones(9))
    assert perturbation_effect("typos", clean, stressed, rng).metrics == {}


def test_a_variant_that_loses_the_farthest_quarter_is_detected(rng):
    distances = rng.permutation(400).astype(float)
    scores = Paired(np.ones(400), np.where(distance_quarters(distances) == 3, 0.5, 1.0))
    result = out_of_distribution(scores, distances, rng)
    assert result.metrics["farthest_quarter_interaction"].value == pytest.approx(0.5)
    table = result.details["farthest_quarter"]["quarters"]
    assert [row["variant"]["value"] for row in table] == [1, 1, 1, 0.5]


@law
@given(seeds, st.integers(4, 30))
def test_quarters_are_equal_in_size_and_in_order(seed, q):
    distances = np.random.default_rng(seed).integers(0, 5, q).astype(float)
    quarter = distance_quarters(distances)
    sizes = np.bincount(quarter, minlength=4)
    assert sizes.max() - sizes.min() <= 1
    assert (np.diff(quarter[np.argsort(distances, kind="stable")]) >= 0).all()


def test_out_of_distribution_queries_are_far_from_the_documents(rng):
    documents = vectors(rng, 500)
    near, far = vectors(rng, 50), vectors(rng, 50) + 6
    assert mahalanobis_distance(far, documents).min() > mahalanobis_distance(near, documents).max()


def test_distances_are_in_standard_deviations_of_the_documents(rng):
    documents = vectors(rng, 5000) * np.array([10, 1, 1, 1, 1, 1, 1, 1], np.float32)
    strong, weak = np.zeros((2, 1, 8), np.float32)
    strong[0, 0], weak[0, 1] = 10, 10
    assert mahalanobis_distance(strong, documents)[0] == pytest.approx(1, abs=0.1)
    assert mahalanobis_distance(weak, documents)[0] > 5


def test_identical_documents_still_have_distances():
    documents = np.ones((5, 3), np.float32)
    near, far = mahalanobis_distance(np.array([[1, 1, 1], [9, 9, 9]], np.float32), documents)
    assert near == 0 < far


def test_the_rarest_tenth_includes_all_that_are_as_rare(rng):
    frequencies = np.repeat([1, 2, 50], [2, 3, 25])
    scores = Paired(np.ones(30), np.where(frequencies <= 2, 0.0, 1.0))
    result = long_tail(scores, frequencies, rng)
    assert result.metrics["rarest_tenth_retention"].n == 5
    assert result.metrics["rarest_tenth_retention"].value == 0


def test_a_slice_of_all_queries_is_refused(rng):
    with pytest.raises(InputError, match="must hold some, not all"):
        slice_effect("all", Paired(np.ones(4), np.ones(4)), np.ones(4, bool), rng)
