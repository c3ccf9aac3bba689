"""One size: fits that are what they claim to be, probabilities that are calibrated."""

import numpy as np
import pytest
from scipy.optimize import minimize

from nestvec.classify import linear
from nestvec.classify.linear import Linear, cross_entropy, nearest_mean, softmax_regression
from nestvec.errors import InputError
from nestvec.vectors import normalize


@pytest.fixture
def rows(rng):
    return normalize(rng.standard_normal((200, 6)).astype(np.float32))


@pytest.fixture
def answers(rng):
    return np.concatenate([np.arange(3), rng.integers(0, 3, 197)])


def test_the_nearest_mean_is_the_nearest(rows, answers):
    found = nearest_mean(rows, answers, 3).logits(rows).argmax(axis=1)
    means = np.stack([rows[answers == c].mean(axis=0) for c in range(3)])
    distances = np.linalg.norm(rows[:, None] - means, axis=2)
    assert (found == distances.argmin(axis=1)).all()


def test_softmax_regression_finds_the_least_of_its_objective(rows, answers, monkeypatch):
    monkeypatch.setattr(linear, "PENALTY", 0.01)
    found = softmax_regression(rows, answers, 3)

    def objective(flat):
        weight, bias = flat[:18].reshape(3, 6), flat[18:]
        fit = cross_entropy(rows.astype(np.float64) @ weight.T + bias, answers)
        return fit + 0.005 * (weight**2).sum()

    at = np.concatenate([found.weight.ravel(), found.bias]).astype(np.float64)
    assert objective(at) <= minimize(objective, np.zeros(21)).fun + 1e-5


def test_classes_that_are_apart_are_learnt(rng):
    answers = np.arange(60) % 3
    rows = normalize((np.eye(3)[answers] + 0.1 * rng.standard_normal((60, 3))).astype(np.float32))
    assert (softmax_regression(rows, answers, 3).logits(rows).argmax(axis=1) == answers).all()


def test_probabilities_sum_to_one_and_temperature_never_moves_the_label(rows, answers):
    plain = softmax_regression(rows, answers, 3)
    hot = plain.calibrated(rows, answers[::-1])  # labels at random: as unsure as can be
    np.testing.assert_allclose(hot.probabilities(rows).sum(axis=1), 1, rtol=1e-5)
    assert hot.temperature > 10
    assert (hot.logits(rows).argmax(axis=1) == plain.logits(rows).argmax(axis=1)).all()


def test_the_temperature_undoes_a_scale(rng):
    """Answers drawn from known probabilities: the temperature that made them is found."""
    weight = (4 * rng.standard_normal((5, 8))).astype(np.float32)
    rows = rng.standard_normal((20_000, 8)).astype(np.float32)
    true = Linear(weight, np.zeros(5, np.float32))
    draws = true.probabilities(rows).cumsum(axis=1) > rng.random((20_000, 1))
    overconfident = Linear(3 * weight, np.zeros(5, np.float32))
    found = overconfident.calibrated(rows, draws.argmax(axis=1))
    assert found.temperature == pytest.approx(3, rel=0.05)


def test_only_the_prefix_is_read_and_made_a_unit(rows):
    size = Linear(np.ones((2, 3), np.float32), np.zeros(2, np.float32))
    longer = rows.copy()
    longer[:, :3] *= 7
    longer[:, 3:] = 9
    np.testing.assert_allclose(size.logits(longer), size.logits(rows), rtol=1e-5)
    raw = Linear(size.weight, size.bias, unit=False)
    np.testing.assert_allclose(raw.logits(longer), 7 * raw.logits(rows), rtol=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="do not fit"):
        Linear(np.ones((2, 3), np.float32), np.zeros(3, np.float32))
    with pytest.raises(InputError, match="NaN"):
        Linear(np.full((2, 3), np.nan, np.float32), np.zeros(2, np.float32))
    with pytest.raises(InputError, match="above 0"):
        Linear(np.ones((2, 3), np.float32), np.zeros(2, np.float32), temperature=0.0)
