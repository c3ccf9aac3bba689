"""Few shots."""

import numpy as np
import pytest

from nestvec.classify.few_shot import few_shots
from nestvec.errors import InputError


def test_more_shots_and_more_dimensions_help(learning, asked):
    table = few_shots(learning, asked, [4, 32], [1, 10])
    by = {(one.shots, one.dims): one.accuracy for one in table}
    assert by[1, 32].high < by[10, 32].low
    assert by[10, 4].high < by[10, 32].low


def test_all_rows_as_shots_are_the_nearest_mean_of_all(rng):
    labels = np.repeat([0, 1], 6)
    vectors = (np.eye(4)[labels] + 0.5 * rng.standard_normal((12, 4))).astype(np.float32)
    (found,) = few_shots((vectors, labels), (vectors, labels), [4], [6], drawings=3)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    means = np.stack([unit[:6].mean(axis=0), unit[6:].mean(axis=0)])
    nearest = np.linalg.norm(unit[:, None] - means, axis=2).argmin(axis=1)
    assert found.accuracy[:3] == ((nearest == labels).mean(),) * 3


def test_what_does_not_fit_is_refused(learning, asked):
    with pytest.raises(InputError, match="a class has"):
        few_shots(learning, asked, [4], [10_000])
    with pytest.raises(InputError, match="900 vectors and labels of shape"):
        few_shots((learning[0], learning[1][:9]), asked, [4])
    with pytest.raises(InputError, match="2 dimensions but 32"):
        few_shots(learning, (asked[0][:, :2], asked[1]), [4])
    with pytest.raises(InputError, match="drawings=0"):
        few_shots(learning, asked, [4], drawings=0)
    with pytest.raises(InputError, match="not learnt"):
        few_shots(learning, (asked[0], ["new"] * len(asked[0])), [4])
