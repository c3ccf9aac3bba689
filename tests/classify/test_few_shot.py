"""Few-shot accuracy of the nearest class mean."""

import numpy as np
import pytest

from nestvec.classify.few_shot import few_shot_accuracy
from nestvec.errors import InputError


def test_more_shots_and_more_dimensions_help(train, held_out):
    table = few_shot_accuracy(train, held_out, [4, 32], [1, 10])
    accuracy = {(row.shots, row.dims): row.accuracy for row in table}
    assert accuracy[1, 32].high < accuracy[10, 32].low
    assert accuracy[10, 4].high < accuracy[10, 32].low


def test_all_rows_as_shots_are_the_nearest_mean_of_all(rng):
    labels = np.repeat([0, 1], 6)
    vectors = (np.eye(4)[labels] + 0.5 * rng.standard_normal((12, 4))).astype(np.float32)
    (row,) = few_shot_accuracy((vectors, labels), (vectors, labels), [4], [6], drawings=3)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    means = np.stack([unit[:6].mean(axis=0), unit[6:].mean(axis=0)])
    nearest = np.linalg.norm(unit[:, None] - means, axis=2).argmin(axis=1)
    assert row.accuracy[:3] == ((nearest == labels).mean(),) * 3


def test_input_that_does_not_fit_is_an_error(train, held_out):
    with pytest.raises(InputError, match="a class has"):
        few_shot_accuracy(train, held_out, [4], [10_000])
    with pytest.raises(InputError, match="900 vectors and labels of shape"):
        few_shot_accuracy((train[0], train[1][:9]), held_out, [4])
    with pytest.raises(InputError, match="2 dimensions but 32"):
        few_shot_accuracy(train, (held_out[0][:, :2], held_out[1]), [4])
    with pytest.raises(InputError, match="drawings=0"):
        few_shot_accuracy(train, held_out, [4], drawings=0)
    with pytest.raises(InputError, match="test has labels that train lacks"):
        few_shot_accuracy(train, (held_out[0], ["new"] * len(held_out[0])), [4])
