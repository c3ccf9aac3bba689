"""A promise: what a sample shows of it, and what it cannot."""

import numpy as np
import pytest

from nestvec.errors import InputError
from nestvec.statistics import binomial_p, hoeffding_bentkus, proportion
from nestvec.tune.promise import Promise


def served(n, missed):
    """`n` queries, of which so many lack half of their answers."""
    return np.where(np.arange(n) < missed, 0.5, 1.0)


def test_the_mean_recall_is_tested_by_hoeffding_and_bentkus():
    promise = Promise(10, 0.9, 0.95)
    kept = promise.kept(served(200, 8))
    assert promise.p_missed(kept) == hoeffding_bentkus(1 - kept.mean(), 200, 1 - 0.9)


def test_whole_answers_are_counted_and_tested_exactly():
    promise = Promise(10, 0.9, 0.95, "all")
    kept = promise.kept(served(200, 8))
    assert kept.sum() == 192
    assert promise.p_missed(kept) == binomial_p(8, 200, 1 - 0.9)
    assert promise.lower_bound(kept) == pytest.approx(proportion(192, 200, 0.9).low)


@pytest.mark.parametrize("loss", ["recall", "all"])
def test_it_is_shown_just_where_the_bound_reaches_the_target(loss):
    for missed in range(40):
        promise = Promise(10, 0.9, 0.95, loss)
        kept = promise.kept(served(200, missed))
        assert (promise.p_missed(kept) <= promise.delta) == (promise.lower_bound(kept) >= 0.9)


@pytest.mark.parametrize("loss", ["recall", "all"])
def test_no_sample_shows_both_that_it_is_reached_and_that_it_is_missed(loss):
    promise = Promise(10, 0.9, 0.95, loss)
    for missed in range(0, 200, 5):
        kept = promise.kept(served(200, missed))
        both = (promise.p_missed(kept), promise.p_reached(kept))
        assert max(both) > promise.delta


@pytest.mark.parametrize("loss", ["recall", "all"])
def test_as_many_queries_as_are_needed_are_enough(loss):
    promise = Promise(10, 0.9, 0.95, loss)
    perfect = promise.kept(np.ones(3))
    needed = promise.queries_needed(perfect)
    assert needed == 29
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
    with pytest.raises(InputError, match="'ndcg' is not one of recall, all"):
        Promise(loss="ndcg")
