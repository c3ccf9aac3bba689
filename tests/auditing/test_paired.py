"""Paired scores: ratios of ratios, their intervals, and cases without one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.auditing.measures.paired import (
    Paired,
    interaction,
    resampled_means,
    retention,
    slice_interaction,
)

law = settings(deadline=None, max_examples=10)
seeds = st.integers(0, 2**32 - 1)


def random_scores(rng, q=50):
    return Paired(rng.random(q) + 0.1, rng.random(q) + 0.1)


@law
@given(seeds)
def test_no_stress_has_interaction_one(seed):
    rng = np.random.default_rng(seed)
    clean = random_scores(rng)
    assert interaction(clean, clean, rng)[:3] == pytest.approx((1, 1, 1))


@law
@given(seeds)
def test_a_variant_that_is_the_full_vectors_has_ratio_one_under_any_stress(seed):
    rng = np.random.default_rng(seed)
    clean, stressed = rng.random(50) + 0.1, rng.random(50) + 0.1
    same = interaction(Paired(clean, clean), Paired(stressed, stressed), rng)
    assert same[:3] == pytest.approx((1, 1, 1))


@law
@given(seeds)
def test_the_ratio_is_of_the_four_means_and_lies_in_its_interval(seed):
    rng = np.random.default_rng(seed)
    clean, stressed = random_scores(rng), random_scores(rng)
    ratio = interaction(clean, stressed, rng)
    retained = [values.variant.mean() / values.full.mean() for values in (stressed, clean)]
    assert ratio.value == pytest.approx(retained[0] / retained[1])
    assert ratio.low < ratio.value < ratio.high
    assert slice_interaction(clean, stressed, rng).value == pytest.approx(ratio.value)


def test_intervals_cover_the_truth_with_their_confidence(rng):
    # Truth: both retain half, so the ratio is 1.
    covered = 0
    for _ in range(60):
        hard = rng.random(80)
        full = (hard < 0.8).astype(float)
        clean = Paired(full, full * (rng.random(80) < 0.5))
        stressed = Paired(full, full * (rng.random(80) < 0.5))
        ratio = interaction(clean, stressed, rng)
        covered += ratio.low <= 1 <= ratio.high
    # 95 % of 60, less three standard errors.
    assert covered >= 52


def test_nothing_to_retain_is_missing_not_zero(rng):
    zeros = Paired(np.zeros(5), np.zeros(5))
    ones = Paired(np.ones(5), np.ones(5))
    assert interaction(zeros, ones, rng) is None
    assert interaction(ones, zeros, rng) is None
    assert retention(zeros, rng) is None


def test_a_column_is_resampled_with_the_others(rng):
    column = rng.random(30)
    means = resampled_means(np.stack([column, 2 * column], axis=1), rng)
    np.testing.assert_allclose(2 * means[:, 0], means[:, 1])
