"""Bets against a mean: never wrong more often than they say, and sharp where losses are alike."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.errors import InputError
from nestvec.statistics import betting_p, hoeffding_bentkus, largest_mean_loss, proportion

law = settings(deadline=None)
samples = st.lists(st.floats(0, 1), min_size=1, max_size=60)
shares = st.floats(0.01, 0.99)


def bet_by_bet(losses, alpha, confidence):
    """The definition, loss after loss."""
    capital, largest, seen, spread = 1.0, 1.0, 0.5, 0.25
    variance = 0.25
    for t, loss in enumerate(losses, start=1):
        bet = math.sqrt(2 * math.log(1 / (1 - confidence)) / (len(losses) * variance))
        capital *= 1 + min(bet, 0.9 / (1 - alpha)) * (alpha - loss)
        largest = max(largest, capital)
        seen += loss
        spread += (loss - seen / (t + 1)) ** 2
        variance = spread / (t + 1)
    return 1 / largest


@law
@given(samples, shares, st.floats(0.55, 0.99))
def test_it_is_what_betting_one_loss_after_the_other_gives(losses, alpha, confidence):
    twin = bet_by_bet(losses, alpha, confidence)
    assert betting_p(losses, alpha, confidence) == pytest.approx(twin, rel=1e-9)


@law
@given(samples, shares, shares)
def test_it_is_a_chance_that_does_not_rise_with_alpha(losses, one, other):
    low, high = sorted((one, other))
    assert 0 <= betting_p(losses, high) <= betting_p(losses, low) + 1e-12 <= 1 + 1e-12


@law
@given(samples, shares)
def test_no_bet_sees_the_loss_that_it_is_made_on(losses, alpha):
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
def test_it_errs_at_most_as_often_as_it_says(rng, draw, alpha, n):
    # The losses' mean is alpha itself: the null hypothesis at its hardest.
    rounds, delta = 1500, 0.1
    losses = draw(rng, alpha, (rounds, n))
    assert losses.mean() == pytest.approx(alpha, rel=0.05)
    wrong = sum(betting_p(one, alpha, 1 - delta) <= delta for one in losses)
    assert proportion(wrong, rounds, 0.999).low <= delta


def test_it_refutes_what_hoeffding_and_bentkus_cannot_where_losses_are_small(rng):
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
def test_the_largest_mean_loss_is_where_the_test_begins_to_refute(losses, confidence):
    bound = largest_mean_loss(losses, confidence)
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
def test_what_is_no_sample_is_refused(call):
    with pytest.raises(InputError):
        call()
