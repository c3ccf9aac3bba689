"""A promise: what a sample shows of it, and what it cannot."""

import numpy as np
import pytest

from nestvec import Plan
from nestvec.errors import InputError, PlanError
from nestvec.statistics import betting_p, binomial_p, proportion
from nestvec.tuning.guarantee import LOSSES, Promise


def served(n, missed):
    """`n` queries, of which so many lack half of their answers."""
    return np.where(np.arange(n) < missed, 0.5, 1.0)


@pytest.mark.parametrize("loss", ["recall", "ndcg"])
def test_means_are_tested_by_betting(loss):
    promise = Promise(10, 0.9, 0.95, loss)
    kept = promise.kept(served(200, 8))
    assert kept.mean() == 0.98
    assert promise.p_missed(kept) == betting_p(1 - kept, 1 - 0.9, 0.95)


@pytest.mark.parametrize("loss", ["all", "containment"])
def test_whole_answers_are_counted_and_tested_exactly(loss):
    promise = Promise(10, 0.9, 0.95, loss)
    kept = promise.kept(served(200, 8))
    assert kept.sum() == 192
    assert promise.p_missed(kept) == binomial_p(8, 200, 1 - 0.9)
    assert promise.lower_bound(kept) == pytest.approx(proportion(192, 200, 0.9).low)


@pytest.mark.parametrize("loss", LOSSES)
def test_it_is_shown_just_where_the_bound_reaches_the_target(loss):
    for missed in range(40):
        promise = Promise(10, 0.9, 0.95, loss)
        kept = promise.kept(served(200, missed))
        assert (promise.p_missed(kept) <= promise.delta) == (promise.lower_bound(kept) >= 0.9)


@pytest.mark.parametrize("loss", LOSSES)
def test_no_sample_shows_both_that_it_is_reached_and_that_it_is_missed(loss, rng):
    promise = Promise(10, 0.9, 0.95, loss)
    for missed in range(0, 200, 5):
        kept = rng.permutation(promise.kept(served(200, missed)))
        both = (promise.p_missed(kept), promise.p_reached(kept))
        assert max(both) > promise.delta


@pytest.mark.parametrize("loss", LOSSES)
def test_as_many_queries_as_are_needed_are_enough(loss):
    promise = Promise(10, 0.9, 0.95, loss)
    perfect = promise.kept(np.ones(3))
    needed = promise.queries_needed(perfect)
    assert needed == (29 if loss in ("all", "containment") else 32)
    assert promise.p_missed(promise.kept(np.ones(needed))) <= promise.delta
    assert promise.p_missed(promise.kept(np.ones(needed - 1))) > promise.delta


def test_no_number_of_queries_shows_what_is_not_so():
    promise = Promise(10, 0.9, 0.95)
    assert promise.queries_needed(promise.kept(served(100, 60))) is None


def test_a_perfect_sample_still_has_an_interval(rng):
    estimate = Promise(10, 0.9, 0.95).estimate(np.ones(50), rng)
    assert estimate == proportion(50, 50)


@pytest.mark.parametrize(
    "values", [{"target": 1.0}, {"target": 0.0}, {"confidence": 1.0}, {"confidence": 0.4}]
)
def test_what_no_sample_can_show_is_refused(values):
    with pytest.raises(InputError, match="exact=True"):
        Promise(**values)


def test_a_loss_that_is_not_known_is_refused():
    with pytest.raises(InputError, match="'mrr' is not one of recall, all"):
        Promise(loss="mrr")


def test_one_promise_is_made_at_a_time_and_recall_of_99_in_100_if_none_is_named():
    targets = dict.fromkeys(LOSSES)
    assert Promise.choose(10, 0.95, targets) == Promise(10, 0.99, 0.95, "recall")
    assert Promise.choose(5, 0.9, targets | {"ndcg": 0.8}) == Promise(5, 0.8, 0.9, "ndcg")
    with pytest.raises(InputError, match="all and ndcg are promises of their own"):
        Promise.choose(10, 0.95, targets | {"ndcg": 0.8, "all": 0.8})


def test_more_than_a_million_queries_are_as_good_as_none():
    promise = Promise(10, 0.9, 0.95)
    nearly = np.where(np.arange(1000) < 999, 0.9, 0.901)
    assert promise.queries_needed(nearly) is None


def test_a_shortlist_is_asked_for_whole_and_other_plans_for_k():
    plan = Plan.parse("probe=3; 64x1:200 > 64x4:30")
    assert Promise(10, loss="containment").rows(plan) == 30
    assert Promise(10, loss="all").rows(plan) == 10
    with pytest.raises(PlanError, match="leaves no shortlist"):
        Promise(10, loss="containment").rows(Plan.parse("probe=3; 64x1:200 > full"))
