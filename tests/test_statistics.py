"""Estimates, tests and sample sizes: laws, known tables, and SciPy's own where it has them."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import nestvec.statistics
from nestvec.errors import InputError
from nestvec.statistics import (
    binomial_p,
    bootstrap_mean,
    bootstrap_ratio,
    hoeffding_bentkus,
    holm,
    lower_bound_of_ratio,
    mcnemar,
    proportion,
    queries_needed,
    smallest_true,
    units_needed,
)

law = settings(deadline=None)
DRAWN = 4e-3
"""Five standard errors of a bound that 20,000 resamples give, on the samples here."""
shares = st.floats(0.01, 0.99)
counts = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def skewed(rng, n):
    """Losses as retrieval has them: mostly none, a few large."""
    return (rng.random(n) < 0.2) * rng.random(n)


# --- shares --------------------------------------------------------------------------------------


@law
@given(counts, shares)
def test_the_interval_of_a_share_is_scipy_s_exact_one(counted, confidence):
    successes, n = counted
    ours = proportion(successes, n, confidence)
    theirs = scipy.stats.binomtest(successes, n).proportion_ci(confidence, method="exact")
    assert ours.value == successes / n
    assert ours.n == n
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@law
@given(counts, shares)
def test_the_binomial_p_is_the_chance_of_so_few_failures(counted, alpha):
    failures, n = counted
    assert binomial_p(failures, n, alpha) == pytest.approx(
        scipy.stats.binom.cdf(failures, n, alpha), abs=1e-12
    )


@law
@given(counts, st.floats(0.55, 0.99))
def test_the_one_sided_bound_is_where_the_binomial_p_crosses(counted, confidence):
    failures, n = counted
    bound = 1 - proportion(n - failures, n, 2 * confidence - 1).low
    if bound < 1:
        assert binomial_p(failures, n, bound) == pytest.approx(1 - confidence, abs=1e-9)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(48, 50, 0.863, 0.995), (190, 200, 0.910, 0.976), (950, 1000, 0.935, 0.963),
     (4750, 5000, 0.944, 0.956)],
)  # fmt: skip
def test_the_table_of_intervals_of_95_in_100(successes, n, low, high):
    estimate = proportion(successes, n)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=6e-4)


@law
@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_a_fair_coin_s_two_sided_test_whichever_side_wins(lost, won):
    p = mcnemar(lost, won)
    assert p == mcnemar(won, lost)
    if lost + won:
        assert p == pytest.approx(scipy.stats.binomtest(lost, lost + won).pvalue, abs=1e-12)
    else:
        assert p == 1


# --- means of losses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "allowed"), [(100, 0.011), (200, 0.021), (500, 0.032), (1000, 0.037), (2000, 0.041)]
)
def test_the_table_of_mean_losses_that_are_allowed(n, allowed):
    # At alpha .05 and delta .1, to the digits of the table.
    assert hoeffding_bentkus(allowed - 1e-3, n, 0.05) <= 0.1
    assert hoeffding_bentkus(allowed + 1e-3, n, 0.05) > 0.1


@law
@given(st.floats(0, 1), st.integers(1, 500), shares)
def test_hoeffding_bentkus_is_a_chance_that_rises_with_the_risk_and_falls_with_alpha(r, n, alpha):
    p = hoeffding_bentkus(r, n, alpha)
    assert 0 <= p <= 1
    assert hoeffding_bentkus(min(1.0, r + 0.1), n, alpha) >= p - 1e-12
    assert hoeffding_bentkus(r, n, min(0.999, alpha + 0.1)) <= p + 1e-12


@law
@given(st.integers(1, 300), shares)
def test_no_loss_at_all_is_as_with_coins(n, alpha):
    assert hoeffding_bentkus(0.0, n, alpha) == pytest.approx((1 - alpha) ** n, rel=1e-9, abs=1e-300)


def test_thirds_that_add_up_to_a_whole_number_are_not_counted_as_the_next():
    risk = float(np.mean([0.1] * 30))  # 3 but for the last bits of its floats
    whole = hoeffding_bentkus(0.1, 30, 0.3)
    assert hoeffding_bentkus(risk, 30, 0.3) == pytest.approx(whole, rel=1e-9)


def test_hoeffding_bentkus_errs_at_most_as_often_as_it_says(rng):
    # The losses' mean is alpha itself: the null hypothesis at its hardest.
    alpha, delta, n, rounds = 0.1, 0.1, 200, 2000
    worst = 0
    for losses in (rng.random((rounds, n)) < alpha, 2 * alpha * rng.random((rounds, n))):
        p = [hoeffding_bentkus(risk, n, alpha) for risk in losses.mean(axis=1).tolist()]
        worst = max(worst, sum(p_value <= delta for p_value in p))
    assert proportion(worst, rounds, 0.999).low <= delta


# --- sample sizes --------------------------------------------------------------------------------

TABLE = {
    0.90: (29, 46, 61, 103, 167),
    0.95: (59, 93, 124, 208, 336),
    0.99: (299, 473, 628, 1049, 1693),
    0.995: (598, 947, 1258, 2100, 3389),  # 3389 queries: p = .049995
}


@pytest.mark.parametrize("target", TABLE)
def test_the_table_of_queries_needed(target):
    assert [queries_needed(target, f) for f in (0, 1, 2, 5, 10)] == list(TABLE[target])


@law
@given(st.floats(0.5, 0.99), st.integers(0, 5), st.floats(0.6, 0.99))
def test_so_many_queries_prove_the_target_and_one_fewer_does_not(target, failures, confidence):
    n = queries_needed(target, failures, confidence)
    assert binomial_p(failures, n, 1 - target) <= 1 - confidence
    if n - 1 > failures:
        assert binomial_p(failures, n - 1, 1 - target) > 1 - confidence


@pytest.mark.parametrize(
    ("difference", "n"), [(0.05, 99), (0.02, 619), (0.01, 2475), (0.005, 9897)]
)
def test_the_table_of_units_needed_for_a_difference(difference, n):
    # The table was made with quantiles rounded to three digits.
    assert units_needed(0.2, difference) == pytest.approx(n, rel=1e-3)


@law
@given(st.integers(1, 10**6))
def test_smallest_true_finds_the_first_number_for_which_the_predicate_is_true(n):
    assert smallest_true(lambda count: count >= n) == n


def test_smallest_true_returns_the_limit_where_the_predicate_is_never_true():
    assert smallest_true(lambda count: False) == 1 << 40


# --- bootstrap -----------------------------------------------------------------------------------


def test_the_interval_of_a_mean_is_scipy_s_bca(rng):
    values = skewed(rng, 150)
    ours = bootstrap_mean(values, rng, resamples=20_000)
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=DRAWN)


def test_the_interval_of_a_ratio_is_scipy_s_paired_bca(rng):
    full = 0.2 + 0.8 * rng.random(120)
    small = full * (1 - skewed(rng, 120))

    def ratio(a, b, axis=-1):
        return a.mean(axis=axis) / b.mean(axis=axis)

    ours = bootstrap_ratio(small, full, rng, resamples=20_000)
    theirs = scipy.stats.bootstrap((small, full), ratio, n_resamples=20_000, paired=True)
    low, high = theirs.confidence_interval
    assert ours.value == pytest.approx(small.mean() / full.mean())
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=DRAWN)


def test_intervals_cover_the_true_mean_about_as_often_as_their_confidence(rng):
    rounds, covered = 400, 0
    for _ in range(rounds):
        interval = bootstrap_mean(skewed(rng, 80), rng, confidence=0.9, resamples=400)
        covered += interval.low <= 0.1 <= interval.high
    assert covered / rounds == pytest.approx(0.9, abs=0.05)


def test_the_one_sided_bound_is_the_two_sided_one_at_twice_the_risk():
    rng = np.random.default_rng
    values, ones = skewed(rng(1), 90), np.ones(90)
    low = lower_bound_of_ratio(values, ones, rng(2), confidence=0.95)
    assert low == bootstrap_ratio(values, ones, rng(2), confidence=0.9).low


def test_equal_seeds_give_equal_intervals():
    rng = np.random.default_rng
    values = skewed(rng(1), 50)
    assert bootstrap_mean(values, rng(3)) == bootstrap_mean(values, rng(3))


def test_a_sample_against_itself_has_the_ratio_1_without_width(rng):
    values = rng.random(40)
    assert bootstrap_ratio(values, values, rng) == pytest.approx((1, 1, 1, 40))


def test_groups_are_resampled_as_a_whole(rng):
    # Ten users who each ask the same thing ten times are ten units, and the interval shows it.
    users = np.repeat(np.arange(10), 10)
    values = np.repeat(rng.random(10), 10)
    by_user = bootstrap_mean(values, rng, groups=users)
    by_query = bootstrap_mean(values, rng)
    assert (by_user.n, by_query.n) == (10, 100)
    assert by_user.value == pytest.approx(by_query.value)
    assert by_user.high - by_user.low > 2 * (by_query.high - by_query.low)


def test_groups_of_one_query_each_change_nothing():
    rng = np.random.default_rng
    values = skewed(rng(1), 30)
    alone = bootstrap_mean(values, rng(2), groups=np.arange(30))
    assert alone == pytest.approx(bootstrap_mean(values, rng(2)))


def test_the_interval_of_a_single_unit_is_infinite(rng):
    assert bootstrap_mean([0.5], rng) == (0.5, -math.inf, math.inf, 1)


def test_resamples_without_a_denominator_are_left_out(rng):
    estimate = bootstrap_ratio([1, 0, 0], [1, 0, 0], rng)
    assert estimate == (1, 1, 1, 3)


def test_more_queries_than_a_block_are_drawn_block_by_block(rng):
    estimate = bootstrap_mean(rng.random(1 << 20), rng, resamples=5)
    assert estimate.low <= estimate.value <= estimate.high


# --- many tests ----------------------------------------------------------------------------------


def test_holm_s_own_arithmetic():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@law
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_value_keeps_their_order_and_stays_a_chance(p_values):
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda rng: proportion(3, 2),
        lambda rng: proportion(0, 0),
        lambda rng: proportion(1, 2, confidence=1.0),
        lambda rng: mcnemar(-1, 2),
        lambda rng: hoeffding_bentkus(1.5, 10, 0.1),
        lambda rng: hoeffding_bentkus(0.5, 10, 0.0),
        lambda rng: queries_needed(1.0, 0),
        lambda rng: units_needed(0.2, 0.0),
        lambda rng: bootstrap_mean([], rng),
        lambda rng: bootstrap_mean([0.5, math.nan], rng),
        lambda rng: bootstrap_ratio([1, 2], [1], rng),
        lambda rng: bootstrap_ratio([1, 2], [0, 0], rng),
        lambda rng: bootstrap_mean([1, 2], rng, groups=[0]),
    ],
)
def test_input_that_is_no_sample_is_an_error(call, rng):
    with pytest.raises(InputError):
        call(rng)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("fewest", "smallest_true"),
        ("largest_mean_loss", "mean_loss_upper_bound"),
        ("needed_for_difference", "units_needed"),
    ],
)
def test_old_names_of_functions_work_with_a_note(old, new):
    with pytest.warns(DeprecationWarning, match=f"statistics.{new}"):
        function = getattr(nestvec.statistics, old)
    assert function is getattr(nestvec.statistics, new)
