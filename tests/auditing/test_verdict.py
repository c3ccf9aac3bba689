"""Verdicts: never PASS by few queries, never without the wider variants."""

import numpy as np
import pytest

from nestvec.auditing.types import PreflightCheck, Variant
from nestvec.auditing.verdict import (
    FAIL,
    INSUFFICIENT_DATA,
    PASS,
    Claim,
    Thresholds,
    Verdict,
    apply_fixed_sequence,
    corrected_confidence,
    decide_verdict,
    safe_dims,
)
from nestvec.errors import InputError
from nestvec.statistics import Estimate, lower_bound_of_ratio

THRESHOLDS = Thresholds()


def verdict_of(value, low, high, n, threshold=0.98, at_most=False):
    claim = Claim("retention", Estimate(value, low, high, n), threshold, at_most)
    return decide_verdict([claim], [], THRESHOLDS)


def test_an_interval_above_the_threshold_passes():
    assert verdict_of(0.99, 0.985, 0.995, 1000).state == PASS


def test_an_interval_below_the_threshold_fails():
    assert verdict_of(0.9, 0.88, 0.92, 1000).state == FAIL


def test_an_interval_across_the_threshold_needs_more_queries():
    verdict = verdict_of(0.99, 0.975, 0.999, 1000)
    assert verdict.state == INSUFFICIENT_DATA
    assert verdict.queries_needed > 1000


def test_the_nearer_the_threshold_the_more_queries_are_needed():
    far, near = verdict_of(0.99, 0.975, 0.999, 1000), verdict_of(0.985, 0.97, 0.994, 1000)
    assert near.queries_needed > far.queries_needed


@pytest.mark.parametrize(("threshold", "min_queries"), [(0.98, 149), (0.95, 59), (0.9, 29)])
def test_perfect_queries_pass_only_if_there_are_enough(threshold, min_queries):
    few = verdict_of(1, 1, 1, min_queries - 1, threshold)
    assert (few.state, few.queries_needed) == (INSUFFICIENT_DATA, min_queries)
    assert verdict_of(1, 1, 1, min_queries, threshold).state == PASS


def test_a_collapse_needs_twenty_queries_to_fail():
    assert verdict_of(0.3, 0.2, 0.4, 20).state == FAIL
    assert verdict_of(0.3, 0.2, 0.4, 19).state == INSUFFICIENT_DATA


def test_at_most_is_the_complement_of_at_least():
    assert verdict_of(0.005, 0.0, 0.01, 1000, 0.02, at_most=True).state == PASS
    assert verdict_of(0.05, 0.03, 0.07, 1000, 0.02, at_most=True).state == FAIL
    assert verdict_of(0.03, 0.01, 0.05, 1000, 0.02, at_most=True).state == INSUFFICIENT_DATA
    assert "at most 0.02" in verdict_of(0.05, 0.03, 0.07, 1000, 0.02, at_most=True).reasons[0]


def test_a_failed_check_fails_whatever_the_claims():
    good = Claim("retention", Estimate(1, 1, 1, 1000), 0.98)
    verdict = decide_verdict(
        [good], [PreflightCheck("renormalised", "fail", "renormalise")], THRESHOLDS
    )
    assert verdict == Verdict(FAIL, ("renormalise",))
    assert (
        decide_verdict([good], [PreflightCheck("ties", "warning", "many")], THRESHOLDS).state
        == PASS
    )


def test_the_worst_claim_decides():
    good, open_, bad = (
        Claim("retention", Estimate(*numbers, 1000), 0.98)
        for numbers in ((1, 1, 1), (0.98, 0.97, 0.99), (0.5, 0.4, 0.6))
    )
    assert decide_verdict([good, open_], [], THRESHOLDS).state == INSUFFICIENT_DATA
    assert decide_verdict([good, open_, bad], [], THRESHOLDS).state == FAIL
    assert len(decide_verdict([good, open_, bad], [], THRESHOLDS).reasons) == 1


def test_without_claims_there_is_no_pass():
    assert decide_verdict([], [], THRESHOLDS).state == INSUFFICIENT_DATA


def test_a_claim_that_is_not_required_counts_only_where_it_fails():
    good = Claim("retention", Estimate(1, 1, 1, 1000), 0.98)
    open_, bad = (
        Claim("mined", Estimate(*numbers, 1000), 0.98, required_for_pass=False)
        for numbers in ((0.97, 0.95, 0.99), (0.5, 0.4, 0.6))
    )
    assert decide_verdict([good, open_], [], THRESHOLDS).state == PASS
    assert decide_verdict([good, bad], [], THRESHOLDS).state == FAIL
    assert decide_verdict([open_], [], THRESHOLDS).state == INSUFFICIENT_DATA


def test_at_the_threshold_no_number_of_queries_is_named():
    at = verdict_of(0.9805, 0.97, 0.99, 1000, 0.98)
    assert (at.state, at.queries_needed) == (INSUFFICIENT_DATA, None)
    assert "lies at the threshold" in at.reasons[0]


# Many variants.


def verdicts(*states):
    return [Verdict(state, ()) for state in states]


def test_a_variant_passes_only_if_all_wider_ones_do():
    variants = [Variant(16), Variant(64), Variant(32), Variant(16, 1)]
    decided = apply_fixed_sequence(variants, verdicts(PASS, PASS, FAIL, PASS))
    assert [verdict.state for verdict in decided] == [INSUFFICIENT_DATA, PASS, FAIL, PASS]
    assert "32 dims" in decided[0].reasons[0]


def test_an_untested_variant_needs_as_many_queries_as_the_one_that_stopped():
    stopped = Verdict(INSUFFICIENT_DATA, ("too few",), 700)
    decided = apply_fixed_sequence([Variant(32), Variant(16)], [stopped, Verdict(PASS, ())])
    assert decided[1].queries_needed == 700


def test_safe_dims_are_the_smallest_of_an_unbroken_run():
    variants = [Variant(64), Variant(32), Variant(16), Variant(64, 1), Variant(8, control="c")]
    decided = apply_fixed_sequence(variants, verdicts(PASS, PASS, FAIL, FAIL, PASS))
    safe = safe_dims(variants, decided)
    assert [(entry["bits"], entry["dims"]) for entry in safe] == [(32, 32), (1, None)]


def test_controls_of_one_kind_are_one_series():
    variants = [Variant(dims, rotation="pca", control=f"as {dims}") for dims in (32, 16)]
    assert corrected_confidence(variants, 0.95) == pytest.approx(0.95)
    assert corrected_confidence([*variants, Variant(8)], 0.95) == pytest.approx(0.975)


def test_a_false_pass_is_as_rare_as_the_confidence_says():
    rng = np.random.default_rng(3)
    passes = 0
    for _ in range(400):
        full = rng.beta(4, 2, 200)
        variant = np.clip(full + rng.normal(-0.02 * full.mean(), 0.1, 200), 0, None)
        # The true retention is 0.98 but for the clipping: the threshold itself.
        passes += lower_bound_of_ratio(variant, full, rng, 0.95, resamples=400) >= 0.98
    assert passes / 400 < 0.09


# Thresholds.


def test_thresholds_are_replaced_by_name():
    assert Thresholds.read({"retention": 0.9}) == Thresholds(retention=0.9)
    assert Thresholds.read(None) == Thresholds()


@pytest.mark.parametrize(
    "wrong",
    [{"retain": 0.9}, {"retention": 1}, {"retention": 95}, {"min_queries": 1}],
    ids=str,
)
def test_senseless_thresholds_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Thresholds.read(wrong)


def test_the_old_name_of_min_queries_is_read_with_a_note():
    with pytest.warns(DeprecationWarning, match="least_queries"):
        assert Thresholds.read({"least_queries": 30}) == Thresholds(min_queries=30)
    with pytest.warns(DeprecationWarning, match="least_queries"):
        assert Thresholds(least_queries=30).min_queries == 30
