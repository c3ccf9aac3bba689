"""Classifiers of one prefix: what they fit, and the calibration of their probabilities."""

import numpy as np
import pytest
from scipy.optimize import minimize

from nestvec.classify import linear
from nestvec.classify.linear import (
    LinearClassifier,
    cross_entropy,
    nearest_mean,
    softmax_regression,
)
from nestvec.errors import InputError
from nestvec.vectors import normalize


@pytest.fixture
def rows(rng):
    return normalize(rng.standard_normal((200, 6)).astype(np.float32))


@pytest.fixture
def class_ids(rng):
    return np.concatenate([np.arange(3), rng.integers(0, 3, 197)])


def test_the_nearest_mean_predicts_the_class_of_the_smallest_distance(rows, class_ids):
    predicted = nearest_mean(rows, class_ids, 3).logits(rows).argmax(axis=1)
    means = np.stack([rows[class_ids == c].mean(axis=0) for c in range(3)])
    distances = np.linalg.norm(rows[:, None] - means, axis=2)
    assert (predicted == distances.argmin(axis=1)).all()


def test_softmax_regression_minimises_its_objective(rows, class_ids, monkeypatch):
    monkeypatch.setattr(linear, "PENALTY", 0.01)
    fitted = softmax_regression(rows, class_ids, 3)

    def objective(flat):
        weight, bias = flat[:18].reshape(3, 6), flat[18:]
        fit = cross_entropy(rows.astype(np.float64) @ weight.T + bias, class_ids)
        return fit + 0.005 * (weight**2).sum()

    solution = np.concatenate([fitted.weight.ravel(), fitted.bias]).astype(np.float64)
    assert objective(solution) <= minimize(objective, np.zeros(21)).fun + 1e-5


def test_well_separated_classes_are_learnt(rng):
    class_ids = np.arange(60) % 3
    rows = normalize((np.eye(3)[class_ids] + 0.1 * rng.standard_normal((60, 3))).astype(np.float32))
    assert (softmax_regression(rows, class_ids, 3).logits(rows).argmax(axis=1) == class_ids).all()


def test_probabilities_sum_to_one_and_temperature_never_changes_the_label(rows, class_ids):
    plain = softmax_regression(rows, class_ids, 3)
    hot = plain.calibrated(rows, class_ids[::-1])  # labels at random: no confidence
    np.testing.assert_allclose(hot.probabilities(rows).sum(axis=1), 1, rtol=1e-5)
    assert hot.temperature > 10
    assert (hot.logits(rows).argmax(axis=1) == plain.logits(rows).argmax(axis=1)).all()


def test_the_temperature_undoes_a_scale(rng):
    """Labels drawn from known probabilities give back the temperature of these."""
    weight = (4 * rng.standard_normal((5, 8))).astype(np.float32)
    rows = rng.standard_normal((20_000, 8)).astype(np.float32)
    true = LinearClassifier(weight, np.zeros(5, np.float32))
    draws = true.probabilities(rows).cumsum(axis=1) > rng.random((20_000, 1))
    overconfident = LinearClassifier(3 * weight, np.zeros(5, np.float32))
    calibrated = overconfident.calibrated(rows, draws.argmax(axis=1))
    assert calibrated.temperature == pytest.approx(3, rel=0.05)


def test_only_the_prefix_is_read_and_scaled_to_unit_length(rows):
    classifier = LinearClassifier(np.ones((2, 3), np.float32), np.zeros(2, np.float32))
    longer = rows.copy()
    longer[:, :3] *= 7
    longer[:, 3:] = 9
    np.testing.assert_allclose(classifier.logits(longer), classifier.logits(rows), rtol=1e-5)
    raw = LinearClassifier(classifier.weight, classifier.bias, unit=False)
    np.testing.assert_allclose(raw.logits(longer), 7 * raw.logits(rows), rtol=1e-5)


def test_arrays_that_make_no_classifier_are_errors():
    with pytest.raises(InputError, match="do not fit"):
        LinearClassifier(np.ones((2, 3), np.float32), np.zeros(3, np.float32))
    with pytest.raises(InputError, match="NaN"):
        LinearClassifier(np.full((2, 3), np.nan, np.float32), np.zeros(2, np.float32))
    with pytest.raises(InputError, match="above 0"):
        LinearClassifier(np.ones((2, 3), np.float32), np.zeros(2, np.float32), temperature=0.0)
