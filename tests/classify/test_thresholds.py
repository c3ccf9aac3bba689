"""Exit thresholds: the search of the paper, ours, and one threshold with a guarantee."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.classify.thresholds import (
    NEVER,
    PrefixPredictions,
    backward_thresholds,
    guaranteed_thresholds,
    pairwise_thresholds,
)
from nestvec.statistics import binomial_p


def calibrated_predictions(rng, n, accuracies=(0.6, 0.8, 0.9)):
    """Predictions that are correct as often as their probability says."""
    probability = rng.beta(4, 1, (len(accuracies), n)) * np.array(accuracies)[:, None] / 0.8
    probability = np.minimum(probability, 1.0)
    return PrefixPredictions(probability, rng.random(probability.shape) < probability)


def test_the_first_classifier_that_reaches_its_threshold_answers():
    probability = np.array([[0.9, 0.5, 0.5], [0.1, 0.7, 0.6], [0.3, 0.3, 0.3]])
    correct = np.array([[True, False, False], [False, True, False], [True, False, True]])
    predictions = PrefixPredictions(probability, correct)
    exit_index = predictions.exit_index((0.9, 0.7))
    assert exit_index.tolist() == [0, 1, 2]
    assert predictions.correct_at(exit_index).tolist() == [True, True, True]
    assert predictions.lost((0.4, 0.7)).tolist() == [False, False, True]


GRID = np.linspace(0.1, 1.0, 100)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_each_pairwise_threshold_is_the_smallest_of_the_best_with_the_next_classifier(seed):
    predictions = calibrated_predictions(np.random.default_rng(seed), 60)
    for place, threshold in enumerate(pairwise_thresholds(predictions)):
        correct, next_correct = predictions.correct[place], predictions.correct[place + 1]
        probability = predictions.probability[place]
        accuracy = [np.where(probability >= t, correct, next_correct).mean() for t in GRID]
        assert threshold == GRID[np.flatnonzero(np.array(accuracy) == max(accuracy))[0]]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_each_backward_threshold_is_the_smallest_of_the_best_with_all_that_follow(seed):
    predictions = calibrated_predictions(np.random.default_rng(seed), 60)
    first, second = backward_thresholds(predictions)
    for place, threshold in enumerate((first, second)):
        candidates = [(t, second) if place == 0 else (NEVER, t) for t in GRID]
        accuracy = np.array(
            [predictions.correct_at(predictions.exit_index(levels)).mean() for levels in candidates]
        )
        assert threshold == GRID[accuracy.argmax()]


def test_the_pairwise_search_does_not_see_beyond_the_next_classifier():
    """The second classifier is no better than the first, the third always correct."""
    probability = np.array([[0.5, 0.9], [0.5, 0.9], [1.0, 1.0]])
    correct = np.array([[False, True], [False, True], [True, True]])
    predictions = PrefixPredictions(probability, correct)
    accuracy = [
        predictions.correct_at(predictions.exit_index(search(predictions))).mean()
        for search in (pairwise_thresholds, backward_thresholds)
    ]
    assert accuracy == [0.5, 1.0]


def test_the_guarantee_records_the_rows_that_the_threshold_loses(rng):
    predictions = calibrated_predictions(rng, 2000)
    thresholds, guarantee = guaranteed_thresholds(predictions, alpha=0.1, confidence=0.9)
    assert guarantee.is_shown
    assert len(set(thresholds)) == 1
    assert guarantee.lost == predictions.lost(thresholds).sum()
    assert guarantee.p_value == binomial_p(guarantee.lost, 2000, 0.1) <= 0.1
    lower = (thresholds[0] - 0.011,) * 2
    assert binomial_p(int(predictions.lost(lower).sum()), 2000, 0.1) > guarantee.p_value


def test_with_too_few_rows_full_width_answers_all(rng):
    thresholds, guarantee = guaranteed_thresholds(
        calibrated_predictions(rng, 40), alpha=0.02, confidence=0.95
    )
    assert thresholds == (NEVER, NEVER)
    assert not guarantee.is_shown
    assert guarantee.rows_needed == 149  # .98¹⁴⁹ < .05
    assert binomial_p(0, 148, 0.02) > 0.05


def test_the_guarantee_holds_as_often_as_its_confidence(rng):
    """Over resampled tests, more than alpha is lost at most 1 − confidence of the time."""
    population = calibrated_predictions(rng, 200_000)
    n_broken, alpha, confidence = 0, 0.05, 0.8
    for _ in range(300):
        rows = rng.integers(0, 200_000, 400)
        sample = PrefixPredictions(population.probability[:, rows], population.correct[:, rows])
        thresholds, _ = guaranteed_thresholds(sample, alpha, confidence)
        n_broken += population.lost(thresholds).mean() > alpha
    # Binomial(300, .2) exceeds 80 with a chance of .001.
    assert 0 < n_broken <= 80


def test_full_width_alone_loses_nothing(rng):
    predictions = calibrated_predictions(rng, 100)
    assert not predictions.lost((NEVER, NEVER)).any()


def test_a_single_classifier_needs_no_threshold(rng):
    predictions = calibrated_predictions(rng, 100, (0.9,))
    assert pairwise_thresholds(predictions) == backward_thresholds(predictions) == ()
    assert predictions.exit_index(()).tolist() == [0] * 100
    assert guaranteed_thresholds(predictions, 0.5, 0.9)[0] == pytest.approx(())
