"""A guarantee: what a sample shows of it, and what it cannot."""

import numpy as np
import pytest

from nestvec import Plan
from nestvec.errors import InputError, PlanError
from nestvec.statistics import betting_p, binomial_p, proportion
from nestvec.tuning.guarantee import MEASURES, Guarantee


def attained(n, missed):
    """`n` queries, of which so many lack half of their answers."""
    return np.where(np.arange(n) < missed, 0.5, 1.0)


@pytest.mark.parametrize("loss", ["recall", "ndcg"])
def test_means_are_tested_by_betting(loss):
    guarantee = Guarantee(10, 0.9, 0.95, loss)
    kept = guarantee.scores(attained(200, 8))
    assert kept.mean() == 0.98
    assert guarantee.p_below(kept) == betting_p(1 - kept, 1 - 0.9, 0.95)


@pytest.mark.parametrize("loss", ["perfect_recall", "shortlist_recall"])
def test_whole_answers_are_counted_and_tested_exactly(loss):
    guarantee = Guarantee(10, 0.9, 0.95, loss)
    kept = guarantee.scores(attained(200, 8))
    assert kept.sum() == 192
    assert guarantee.p_below(kept) == binomial_p(8, 200, 1 - 0.9)
    assert guarantee.lower_bound(kept) == pytest.approx(proportion(192, 200, 0.9).low)


@pytest.mark.parametrize("loss", MEASURES)
def test_it_is_shown_just_where_the_bound_reaches_the_target(loss):
    for missed in range(40):
        guarantee = Guarantee(10, 0.9, 0.95, loss)
        kept = guarantee.scores(attained(200, missed))
        assert (guarantee.p_below(kept) <= guarantee.delta) == (guarantee.lower_bound(kept) >= 0.9)


@pytest.mark.parametrize("loss", MEASURES)
def test_no_sample_shows_both_that_it_is_reached_and_that_it_is_missed(loss, rng):
    guarantee = Guarantee(10, 0.9, 0.95, loss)
    for missed in range(0, 200, 5):
        kept = rng.permutation(guarantee.scores(attained(200, missed)))
        both = (guarantee.p_below(kept), guarantee.p_above(kept))
        assert max(both) > guarantee.delta


@pytest.mark.parametrize("loss", MEASURES)
def test_as_many_queries_as_are_needed_are_enough(loss):
    guarantee = Guarantee(10, 0.9, 0.95, loss)
    perfect = guarantee.scores(np.ones(3))
    needed = guarantee.queries_needed(perfect)
    assert needed == (29 if loss in ("perfect_recall", "shortlist_recall") else 32)
    assert guarantee.p_below(guarantee.scores(np.ones(needed))) <= guarantee.delta
    assert guarantee.p_below(guarantee.scores(np.ones(needed - 1))) > guarantee.delta


def test_no_number_of_queries_shows_what_is_not_so():
    guarantee = Guarantee(10, 0.9, 0.95)
    assert guarantee.queries_needed(guarantee.scores(attained(100, 60))) is None


def test_a_perfect_sample_still_has_an_interval(rng):
    estimate = Guarantee(10, 0.9, 0.95).estimate(np.ones(50), rng)
    assert estimate == proportion(50, 50)


@pytest.mark.parametrize(
    "values", [{"target": 1.0}, {"target": 0.0}, {"confidence": 1.0}, {"confidence": 0.4}]
)
def test_what_no_sample_can_show_is_refused(values):
    with pytest.raises(InputError, match="exact=True"):
        Guarantee(**values)


def test_a_loss_that_is_not_known_is_refused():
    with pytest.raises(InputError, match="'mrr' is not one of recall, all"):
        Guarantee(measure="mrr")


def test_one_promise_is_made_at_a_time_and_recall_of_99_in_100_if_none_is_named():
    targets = dict.fromkeys(MEASURES)
    assert Guarantee.from_targets(10, 0.95, targets) == Guarantee(10, 0.99, 0.95, "recall")
    assert Guarantee.from_targets(5, 0.9, targets | {"ndcg": 0.8}) == Guarantee(5, 0.8, 0.9, "ndcg")
    with pytest.raises(InputError, match="all and ndcg are promises of their own"):
        Guarantee.from_targets(10, 0.95, targets | {"ndcg": 0.8, "all": 0.8})


def test_more_than_a_million_queries_are_as_good_as_none():
    guarantee = Guarantee(10, 0.9, 0.95)
    nearly = np.where(np.arange(1000) < 999, 0.9, 0.901)
    assert guarantee.queries_needed(nearly) is None


def test_a_shortlist_is_asked_for_whole_and_other_plans_for_k():
    plan = Plan.parse("probe=3; 64x1:200 > 64x4:30")
    assert Guarantee(10, measure="shortlist_recall").rows(plan) == 30
    assert Guarantee(10, measure="perfect_recall").rows(plan) == 10
    with pytest.raises(PlanError, match="leaves no shortlist"):
        Guarantee(10, measure="shortlist_recall").rows(Plan.parse("probe=3; 64x1:200 > full"))
