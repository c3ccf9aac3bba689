"""Betting tests: wrong no more often than their level, and powerful where losses are alike."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.errors import InputError
from nestvec.statistics import betting_p, hoeffding_bentkus, mean_loss_upper_bound, proportion

law = settings(deadline=None)
samples = st.lists(st.floats(0, 1), min_size=1, max_size=60)
shares = st.floats(0.01, 0.99)


def bet_by_bet(losses, alpha, confidence):
    """The definition, loss after loss."""
    capital, largest, total, spread = 1.0, 1.0, 0.5, 0.25
    variance = 0.25
    for t, loss in enumerate(losses, start=1):
        bet = math.sqrt(2 * math.log(1 / (1 - confidence)) / (len(losses) * variance))
        capital *= 1 + min(bet, 0.9 / (1 - alpha)) * (alpha - loss)
        largest = max(largest, capital)
        total += loss
        spread += (loss - total / (t + 1)) ** 2
        variance = spread / (t + 1)
    return 1 / largest


@law
@given(samples, shares, st.floats(0.55, 0.99))
def test_it_is_what_betting_one_loss_after_the_other_gives(losses, alpha, confidence):
    twin = bet_by_bet(losses, alpha, confidence)
    assert betting_p(losses, alpha, confidence) == pytest.approx(twin, rel=1e-9)


@law
@given(samples, shares, shares)
def test_the_p_value_is_a_probability_that_does_not_rise_with_alpha(losses, a, b):
    low, high = sorted((a, b))
    assert 0 <= betting_p(losses, high) <= betting_p(losses, low) + 1e-12 <= 1 + 1e-12


@law
@given(samples, shares)
def test_no_stake_depends_on_its_own_loss(losses, alpha):
    # All but the last loss settle all bets: of two last losses the larger never helps.
    assert betting_p([*losses, 1.0], alpha) >= betting_p([*losses, 0.0], alpha)


def coins(rng, alpha, shape):
    return (rng.random(shape) < alpha).astype(float)


def spread_out(rng, alpha, shape):
    return 2 * alpha * rng.random(shape)


def all_or_nearly_nothing(rng, alpha, shape):
    """Mostly just below alpha, which looks safe, and rarely everything."""
    rare = 0.5 * alpha / (1 - 0.5 * alpha)
    return np.where(rng.random(shape) < rare, 1.0, 0.5 * alpha)


def now_and_then(rng, alpha, shape):
    return np.where(rng.random(shape) < alpha / 0.3, 0.3, 0.0)


@pytest.mark.parametrize(
    "draw", [coins, spread_out, all_or_nearly_nothing, now_and_then], ids=lambda d: d.__name__
)
@pytest.mark.parametrize(("alpha", "n"), [(0.1, 40), (0.1, 400), (0.01, 600)])
def test_the_error_rate_is_at_most_delta(rng, draw, alpha, n):
    # The losses' mean is alpha itself: the null hypothesis at its hardest.
    rounds, delta = 1500, 0.1
    losses = draw(rng, alpha, (rounds, n))
    assert losses.mean() == pytest.approx(alpha, rel=0.05)
    wrong = sum(betting_p(sample, alpha, 1 - delta) <= delta for sample in losses)
    assert proportion(wrong, rounds, 0.999).low <= delta


def test_it_rejects_where_hoeffding_bentkus_cannot_because_losses_are_small(rng):
    # A tenth is lost by three queries of ten: as recall@10 is.
    losses = 0.1 * (rng.random(300) < 0.3)
    assert betting_p(losses, 0.05) < 0.05 < hoeffding_bentkus(losses.mean(), 300, 0.05)


@pytest.mark.parametrize(("alpha", "n"), [(0.1, 32), (0.05, 66), (0.01, 337), (0.005, 676)])
def test_so_many_queries_without_a_loss_are_enough(alpha, n):
    # Exact tests of coins ask for 29, 59, 299 and 598.
    assert betting_p(np.zeros(n), alpha) <= 0.05 < betting_p(np.zeros(n - 1), alpha)


@pytest.mark.parametrize(
    ("alpha", "lost", "n"),
    [(0.1, 10, 42), (0.1, 100, 133), (0.05, 10, 87), (0.05, 100, 271), (0.01, 10, 443),
     (0.01, 100, 1379), (0.005, 10, 888), (0.005, 100, 2763)],
)  # fmt: skip
def test_so_many_queries_are_enough_where_some_lose_a_tenth(alpha, lost, n):
    def evenly(n):
        losses = np.zeros(n)
        losses[np.linspace(n / (2 * lost), n - 1 - n / (2 * lost), lost).round().astype(int)] = 0.1
        return losses

    assert betting_p(evenly(n), alpha) <= 0.05 < betting_p(evenly(n - 1), alpha)


@law
@given(samples, st.floats(0.6, 0.99))
def test_the_mean_loss_upper_bound_is_where_the_test_begins_to_reject(losses, confidence):
    bound = mean_loss_upper_bound(losses, confidence)
    if bound < 0.999:
        assert betting_p(losses, bound, confidence) <= 1 - confidence
        assert betting_p(losses, bound - 1e-6, confidence) > 1 - confidence


@pytest.mark.parametrize(
    "call",
    [
        lambda: betting_p([], 0.1),
        lambda: betting_p([0.5, 1.5], 0.1),
        lambda: betting_p([np.nan], 0.1),
        lambda: betting_p([0.5], 0.0),
        lambda: betting_p([0.5], 0.1, confidence=1.0),
    ],
)
def test_input_that_is_no_sample_is_an_error(call):
    with pytest.raises(InputError):
        call()
