"""A guarantee: what a sample shows of it, and what it cannot."""

import numpy as np
import pytest

from nestvec import Plan
from nestvec.errors import InputError, PlanError
from nestvec.statistics import betting_p, binomial_p, proportion
from nestvec.tuning.guarantee import MEASURES, Guarantee


def attained(n, missed):
    """`n` queries, of which `missed` attain a half."""
    return np.where(np.arange(n) < missed, 0.5, 1.0)


@pytest.mark.parametrize("measure", ["recall", "ndcg"])
def test_means_are_tested_by_betting(measure):
    guarantee = Guarantee(10, 0.9, 0.95, measure)
    scores = guarantee.scores(attained(200, 8))
    assert scores.mean() == 0.98
    assert guarantee.p_below(scores) == betting_p(1 - scores, 1 - 0.9, 0.95)


@pytest.mark.parametrize("measure", ["perfect_recall", "shortlist_recall"])
def test_shares_of_queries_have_the_exact_binomial_test(measure):
    guarantee = Guarantee(10, 0.9, 0.95, measure)
    scores = guarantee.scores(attained(200, 8))
    assert scores.sum() == 192
    assert guarantee.p_below(scores) == binomial_p(8, 200, 1 - 0.9)
    assert guarantee.lower_bound(scores) == pytest.approx(proportion(192, 200, 0.9).low)


@pytest.mark.parametrize("measure", MEASURES)
def test_it_is_shown_exactly_where_the_bound_reaches_the_target(measure):
    for missed in range(40):
        guarantee = Guarantee(10, 0.9, 0.95, measure)
        scores = guarantee.scores(attained(200, missed))
        assert (guarantee.p_below(scores) <= guarantee.delta) == (
            guarantee.lower_bound(scores) >= 0.9
        )


@pytest.mark.parametrize("measure", MEASURES)
def test_no_sample_shows_both_that_it_is_reached_and_that_it_is_missed(measure, rng):
    guarantee = Guarantee(10, 0.9, 0.95, measure)
    for missed in range(0, 200, 5):
        scores = rng.permutation(guarantee.scores(attained(200, missed)))
        p_values = (guarantee.p_below(scores), guarantee.p_above(scores))
        assert max(p_values) > guarantee.delta


@pytest.mark.parametrize("measure", MEASURES)
def test_the_number_of_queries_needed_is_the_smallest_that_suffices(measure):
    guarantee = Guarantee(10, 0.9, 0.95, measure)
    perfect = guarantee.scores(np.ones(3))
    needed = guarantee.queries_needed(perfect)
    assert needed == (29 if measure in ("perfect_recall", "shortlist_recall") else 32)
    assert guarantee.p_below(guarantee.scores(np.ones(needed))) <= guarantee.delta
    assert guarantee.p_below(guarantee.scores(np.ones(needed - 1))) > guarantee.delta


def test_no_number_of_queries_shows_a_missed_target():
    guarantee = Guarantee(10, 0.9, 0.95)
    assert guarantee.queries_needed(guarantee.scores(attained(100, 60))) is None


def test_a_perfect_sample_still_has_an_interval(rng):
    estimate = Guarantee(10, 0.9, 0.95).estimate(np.ones(50), rng)
    assert estimate == proportion(50, 50)


@pytest.mark.parametrize(
    "values", [{"target": 1.0}, {"target": 0.0}, {"confidence": 1.0}, {"confidence": 0.4}]
)
def test_a_target_or_confidence_that_no_sample_can_show_is_an_error(values):
    with pytest.raises(InputError, match="exact=True"):
        Guarantee(**values)


def test_an_unknown_measure_is_an_error():
    with pytest.raises(InputError, match="measure='mrr' is not known; use one of recall, perf"):
        Guarantee(measure="mrr")


def test_a_guarantee_has_one_target_which_is_recall_99_in_100_by_default():
    targets = dict.fromkeys(MEASURES)
    assert Guarantee.from_targets(10, 0.95, targets) == Guarantee(10, 0.99, 0.95, "recall")
    assert Guarantee.from_targets(5, 0.9, targets | {"ndcg": 0.8}) == Guarantee(5, 0.8, 0.9, "ndcg")
    with pytest.raises(InputError, match="perfect_recall and ndcg are separate guarantees"):
        Guarantee.from_targets(10, 0.95, targets | {"ndcg": 0.8, "perfect_recall": 0.8})


def test_a_target_that_needs_more_than_a_million_queries_has_no_number():
    guarantee = Guarantee(10, 0.9, 0.95)
    nearly = np.where(np.arange(1000) < 999, 0.9, 0.901)
    assert guarantee.queries_needed(nearly) is None


def test_a_search_returns_the_whole_shortlist_or_k_rows():
    plan = Plan.parse("probe=3; 64x1:200 > 64x4:30")
    assert Guarantee(10, measure="shortlist_recall").rows(plan) == 30
    assert Guarantee(10, measure="perfect_recall").rows(plan) == 10
    with pytest.raises(PlanError, match="leaves no shortlist"):
        Guarantee(10, measure="shortlist_recall").rows(Plan.parse("probe=3; 64x1:200 > full"))


@pytest.mark.parametrize(
    ("old", "new"),
    [("recall", "recall"), ("all", "perfect_recall"), ("containment", "shortlist_recall")],
)
def test_evidence_of_older_versions_is_read(old, new):
    evidence = {"k": 5, "target": 0.9, "confidence": 0.95, "loss": old, "promise": "…"}
    assert Guarantee.from_evidence(evidence) == Guarantee(5, 0.9, 0.95, new)


def test_evidence_of_today_is_read_as_it_was_written():
    guarantee = Guarantee(7, 0.8, 0.9, "ndcg")
    assert Guarantee.from_evidence({"verdict": "GUARANTEED", **guarantee.to_json()}) == guarantee


def test_an_unknown_target_is_an_error():
    with pytest.raises(InputError, match="mrr is no option of tune; the options are recall, perf"):
        Guarantee.from_targets(10, 0.95, {"mrr": 0.9})


@pytest.mark.parametrize("target", ["0.9", True, [0.9]])
def test_a_target_that_is_no_number_is_an_error(target):
    with pytest.raises(InputError, match="is not a number"):
        Guarantee.from_targets(10, 0.95, {"recall": target})
