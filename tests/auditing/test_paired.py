"""Pairs: ratios of ratios, their intervals, and what has none."""

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


def some(rng, q=50):
    return Paired(rng.random(q) + 0.1, rng.random(q) + 0.1)


@law
@given(seeds)
def test_what_changes_nothing_interacts_with_nothing(seed):
    rng = np.random.default_rng(seed)
    clean = some(rng)
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
    clean, stressed = some(rng), some(rng)
    found = interaction(clean, stressed, rng)
    kept = [values.variant.mean() / values.full.mean() for values in (stressed, clean)]
    assert found.value == pytest.approx(kept[0] / kept[1])
    assert found.low < found.value < found.high
    assert slice_interaction(clean, stressed, rng).value == pytest.approx(found.value)


def test_intervals_hold_the_truth_as_often_as_they_say(rng):
    # Truth: both keep half, so the ratio is 1.
    held = 0
    for _ in range(60):
        hard = rng.random(80)
        full = (hard < 0.8).astype(float)
        clean = Paired(full, full * (rng.random(80) < 0.5))
        stressed = Paired(full, full * (rng.random(80) < 0.5))
        found = interaction(clean, stressed, rng)
        held += found.low <= 1 <= found.high
    # 95 % of 60, less three standard errors.
    assert held >= 52


def test_nothing_to_retain_is_missing_not_zero(rng):
    nothing = Paired(np.zeros(5), np.zeros(5))
    something = Paired(np.ones(5), np.ones(5))
    assert interaction(nothing, something, rng) is None
    assert interaction(something, nothing, rng) is None
    assert retention(nothing, rng) is None


def test_a_column_is_resampled_with_the_others(rng):
    column = rng.random(30)
    means = resampled_means(np.stack([column, 2 * column], axis=1), rng)
    np.testing.assert_allclose(2 * means[:, 0], means[:, 1])
