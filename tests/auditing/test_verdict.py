"""Verdicts: never PASS by few queries, never without the larger sizes."""

import numpy as np
import pytest

from nestvec.auditing.types import Check, Variant
from nestvec.auditing.verdict import (
    FAIL,
    INSUFFICIENT,
    PASS,
    Claim,
    Thresholds,
    Verdict,
    in_sequence,
    judge,
    safe_dims,
    shared_confidence,
)
from nestvec.errors import InputError
from nestvec.statistics import Estimate, lower_bound_of_ratio

THRESHOLDS = Thresholds()


def state(value, low, high, n, limit=0.98, at_most=False):
    claim = Claim("kept", Estimate(value, low, high, n), limit, at_most)
    return judge([claim], [], THRESHOLDS)


def test_an_interval_above_the_limit_passes():
    assert state(0.99, 0.985, 0.995, 1000).state == PASS


def test_an_interval_below_the_limit_fails():
    assert state(0.9, 0.88, 0.92, 1000).state == FAIL


def test_an_interval_across_the_limit_needs_more_queries():
    verdict = state(0.99, 0.975, 0.999, 1000)
    assert verdict.state == INSUFFICIENT
    assert verdict.queries_needed > 1000


def test_the_nearer_the_limit_the_more_are_needed():
    far, near = state(0.99, 0.975, 0.999, 1000), state(0.985, 0.97, 0.994, 1000)
    assert near.queries_needed > far.queries_needed


@pytest.mark.parametrize(("limit", "least"), [(0.98, 149), (0.95, 59), (0.9, 29)])
def test_perfect_queries_pass_only_if_they_are_enough(limit, least):
    few = state(1, 1, 1, least - 1, limit)
    assert (few.state, few.queries_needed) == (INSUFFICIENT, least)
    assert state(1, 1, 1, least, limit).state == PASS


def test_a_collapse_is_seen_by_few_queries_but_not_by_a_handful():
    assert state(0.3, 0.2, 0.4, 20).state == FAIL
    assert state(0.3, 0.2, 0.4, 19).state == INSUFFICIENT


def test_at_most_is_the_mirror_image():
    assert state(0.005, 0.0, 0.01, 1000, 0.02, at_most=True).state == PASS
    assert state(0.05, 0.03, 0.07, 1000, 0.02, at_most=True).state == FAIL
    assert state(0.03, 0.01, 0.05, 1000, 0.02, at_most=True).state == INSUFFICIENT
    assert "at most 0.02" in state(0.05, 0.03, 0.07, 1000, 0.02, at_most=True).reasons[0]


def test_a_failed_check_fails_whatever_is_kept():
    good = Claim("kept", Estimate(1, 1, 1, 1000), 0.98)
    verdict = judge([good], [Check("renormalised", "fail", "renormalise")], THRESHOLDS)
    assert verdict == Verdict(FAIL, ("renormalise",))
    assert judge([good], [Check("ties", "warning", "many")], THRESHOLDS).state == PASS


def test_the_worst_claim_decides():
    good, open_, bad = (
        Claim("kept", Estimate(*numbers, 1000), 0.98)
        for numbers in ((1, 1, 1), (0.98, 0.97, 0.99), (0.5, 0.4, 0.6))
    )
    assert judge([good, open_], [], THRESHOLDS).state == INSUFFICIENT
    assert judge([good, open_, bad], [], THRESHOLDS).state == FAIL
    assert len(judge([good, open_, bad], [], THRESHOLDS).reasons) == 1


def test_nothing_to_keep_is_no_pass():
    assert judge([], [], THRESHOLDS).state == INSUFFICIENT


def test_what_need_not_be_proven_is_heard_only_where_it_fails():
    good = Claim("kept", Estimate(1, 1, 1, 1000), 0.98)
    open_, bad = (
        Claim("mined", Estimate(*numbers, 1000), 0.98, proof=False)
        for numbers in ((0.97, 0.95, 0.99), (0.5, 0.4, 0.6))
    )
    assert judge([good, open_], [], THRESHOLDS).state == PASS
    assert judge([good, bad], [], THRESHOLDS).state == FAIL
    assert judge([open_], [], THRESHOLDS).state == INSUFFICIENT


def test_at_the_threshold_no_number_of_queries_is_named():
    at = state(0.9805, 0.97, 0.99, 1000, 0.98)
    assert (at.state, at.queries_needed) == (INSUFFICIENT, None)
    assert "lies at the threshold" in at.reasons[0]


# Many variants.


def verdicts(*states):
    return [Verdict(state, ()) for state in states]


def test_what_is_smaller_than_a_size_that_does_not_pass_does_not_pass():
    variants = [Variant(16), Variant(64), Variant(32), Variant(16, 1)]
    decided = in_sequence(variants, verdicts(PASS, PASS, FAIL, PASS))
    assert [verdict.state for verdict in decided] == [INSUFFICIENT, PASS, FAIL, PASS]
    assert "32 dims" in decided[0].reasons[0]


def test_what_was_not_tested_takes_as_many_queries_as_what_stopped_it():
    stopped = Verdict(INSUFFICIENT, ("too few",), 700)
    decided = in_sequence([Variant(32), Variant(16)], [stopped, Verdict(PASS, ())])
    assert decided[1].queries_needed == 700


def test_safe_dims_are_the_smallest_of_an_unbroken_run():
    variants = [Variant(64), Variant(32), Variant(16), Variant(64, 1), Variant(8, control="c")]
    decided = in_sequence(variants, verdicts(PASS, PASS, FAIL, FAIL, PASS))
    safe = safe_dims(variants, decided)
    assert [(one["bits"], one["dims"]) for one in safe] == [(32, 32), (1, None)]


def test_controls_of_one_kind_are_one_series():
    variants = [Variant(dims, rotation="pca", control=f"as {dims}") for dims in (32, 16)]
    assert shared_confidence(variants, 0.95) == pytest.approx(0.95)
    assert shared_confidence([*variants, Variant(8)], 0.95) == pytest.approx(0.975)


def test_a_threshold_is_wrongly_passed_no_more_often_than_promised():
    rng = np.random.default_rng(3)
    passed = 0
    for _ in range(400):
        before = rng.beta(4, 2, 200)
        after = np.clip(before + rng.normal(-0.02 * before.mean(), 0.1, 200), 0, None)
        # The true retention is 0.98 but for the clipping: the limit itself.
        passed += lower_bound_of_ratio(after, before, rng, 0.95, resamples=400) >= 0.98
    assert passed / 400 < 0.09


# Thresholds.


def test_thresholds_are_replaced_by_name():
    assert Thresholds.read({"retention": 0.9}) == Thresholds(retention=0.9)
    assert Thresholds.read(None) == Thresholds()


@pytest.mark.parametrize(
    "wrong",
    [{"retain": 0.9}, {"retention": 1}, {"retention": 95}, {"least_queries": 1}],
    ids=str,
)
def test_senseless_thresholds_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Thresholds.read(wrong)
