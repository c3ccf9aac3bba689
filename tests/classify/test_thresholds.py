"""Thresholds: the chain of the paper, and one that keeps what it promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.classify.thresholds import NEVER, Answers, backward_chain, certified, pairwise_chain
from nestvec.statistics import binomial_p


def answers_of(rng, n, accuracies=(0.6, 0.8, 0.9)):
    """Sizes that are as sure as they are right: calibrated."""
    sure = rng.beta(4, 1, (len(accuracies), n)) * np.array(accuracies)[:, None] / 0.8
    sure = np.minimum(sure, 1.0)
    return Answers(sure, rng.random(sure.shape) < sure)


def test_the_first_size_that_is_sure_enough_answers():
    sure = np.array([[0.9, 0.5, 0.5], [0.1, 0.7, 0.6], [0.3, 0.3, 0.3]])
    right = np.array([[True, False, False], [False, True, False], [True, False, True]])
    answers = Answers(sure, right)
    used = answers.used((0.9, 0.7))
    assert used.tolist() == [0, 1, 2]
    assert answers.of(used).tolist() == [True, True, True]
    assert answers.lost((0.4, 0.7)).tolist() == [False, False, True]


GRID = np.linspace(0.1, 1.0, 100)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_each_threshold_of_the_papers_chain_is_the_least_of_the_best_with_the_next(seed):
    answers = answers_of(np.random.default_rng(seed), 60)
    for place, threshold in enumerate(pairwise_chain(answers)):
        first, second = answers.right[place], answers.right[place + 1]
        together = [np.where(answers.sure[place] >= t, first, second).mean() for t in GRID]
        assert threshold == GRID[np.flatnonzero(np.array(together) == max(together))[0]]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_each_threshold_of_the_backward_chain_is_the_least_of_the_best_with_all_that_follow(seed):
    answers = answers_of(np.random.default_rng(seed), 60)
    first, second = backward_chain(answers)
    for place, threshold in enumerate((first, second)):
        tried = [(t, second) if place == 0 else (NEVER, t) for t in GRID]
        accuracy = np.array([answers.of(answers.used(of)).mean() for of in tried])
        assert threshold == GRID[accuracy.argmax()]


def test_the_papers_chain_does_not_see_beyond_the_next_size():
    """The second size is no better than the first, the third always right."""
    sure = np.array([[0.5, 0.9], [0.5, 0.9], [1.0, 1.0]])
    right = np.array([[False, True], [False, True], [True, True]])
    answers = Answers(sure, right)
    accuracy = [
        answers.of(answers.used(chain(answers))).mean()
        for chain in (pairwise_chain, backward_chain)
    ]
    assert accuracy == [0.5, 1.0]


def test_the_certificate_tells_what_the_threshold_loses(rng):
    answers = answers_of(rng, 2000)
    thresholds, found = certified(answers, alpha=0.1, confidence=0.9)
    assert found.shown
    assert len(set(thresholds)) == 1
    assert found.lost == answers.lost(thresholds).sum()
    assert found.p_value == binomial_p(found.lost, 2000, 0.1) <= 0.1
    lower = (thresholds[0] - 0.011,) * 2
    assert binomial_p(int(answers.lost(lower).sum()), 2000, 0.1) > found.p_value


def test_too_few_rows_leave_full_width_to_answer(rng):
    thresholds, found = certified(answers_of(rng, 40), alpha=0.02, confidence=0.95)
    assert thresholds == (NEVER, NEVER)
    assert not found.shown
    assert found.needed == 149  # .98¹⁴⁹ < .05
    assert binomial_p(0, 148, 0.02) > 0.05


def test_the_promise_is_kept_as_often_as_it_says(rng):
    """Over resampled certifications, more than alpha is lost at most 1 − confidence of the time."""
    everyone = answers_of(rng, 200_000)
    broken, alpha, confidence = 0, 0.05, 0.8
    for _ in range(300):
        rows = rng.integers(0, 200_000, 400)
        sample = Answers(everyone.sure[:, rows], everyone.right[:, rows])
        thresholds, _ = certified(sample, alpha, confidence)
        broken += everyone.lost(thresholds).mean() > alpha
    # Binomial(300, .2) exceeds 80 with a chance of .001.
    assert 0 < broken <= 80


def test_full_width_alone_loses_nothing(rng):
    answers = answers_of(rng, 100)
    assert not answers.lost((NEVER, NEVER)).any()


def test_one_size_needs_no_threshold(rng):
    answers = answers_of(rng, 100, (0.9,))
    assert pairwise_chain(answers) == backward_chain(answers) == ()
    assert answers.used(()).tolist() == [0] * 100
    assert certified(answers, 0.5, 0.9)[0] == pytest.approx(())
