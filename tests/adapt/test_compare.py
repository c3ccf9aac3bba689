"""Transforms side by side."""

import json

import numpy as np
import pytest

from nestvec import Rotation
from nestvec.adapt import Linear, Prefix
from nestvec.adapt.compare import baselines, compare
from nestvec.adapt.training_data import TrainingData

from .conftest import DIM


@pytest.fixture
def comparison(vectors):
    data = TrainingData.read(vectors[:300], [(q, q) for q in range(100)], vectors[300:])
    return compare(baselines(data.documents, 0), data, [3, 6])


def cell(comparison, method, dims):
    return next(item for item in comparison.cells if (item.method, item.dims) == (method, dims))


def test_every_method_is_scored_at_all_dims_and_at_full_width(comparison):
    cells = {(item.method, item.dims) for item in comparison.cells}
    methods = {
        (name, size) for name in ("prefix", "random rotation", "pca") for size in (3, 6, DIM)
    }
    assert cells == methods | {("pca, 8 bits", 3)}
    assert (comparison.queries, comparison.documents) == (100, 300)


def test_rotations_change_nothing_at_full_width(comparison):
    for method in ("prefix", "random rotation"):
        gains = cell(comparison, method, DIM).gains
        assert abs(gains["ndcg@10"].value) < 0.01  # ties may fall either way
        assert cell(comparison, method, DIM).metrics["overlap@10"].value == pytest.approx(
            1, abs=0.005
        )


def test_the_baseline_gains_nothing_over_itself_and_a_control_has_as_many_bytes(comparison):
    assert cell(comparison, "pca", 3).gains["overlap@10"] == (0, 0, 0, 100)
    control, base = cell(comparison, "pca, 8 bits", 3), cell(comparison, "pca", 3)
    assert control.size_bytes == base.size_bytes == 12
    assert control.metrics["overlap@10"].value > 0.9  # all 12 dimensions, finely rounded


def test_intervals_contain_their_means_and_everything_is_json(comparison):
    for item in comparison.cells:
        for estimate in (*item.metrics.values(), *item.gains.values()):
            assert estimate.low <= estimate.value <= estimate.high
    parsed = json.loads(json.dumps(comparison.to_json()))
    assert len(parsed["cells"]) == len(comparison.cells)


def test_the_same_seed_gives_the_same_comparison(vectors, comparison):
    data = TrainingData.read(vectors[:300], [(q, q) for q in range(100)], vectors[300:])
    assert compare(baselines(data.documents, 0), data, [3, 6]) == comparison


def test_a_map_that_loses_everything_is_significantly_worse(vectors):
    data = TrainingData.read(vectors[:300], None, vectors[300:])
    nothing = Linear(np.zeros((DIM, DIM), np.float32), np.ones(DIM, np.float32))
    methods = {"pca": Rotation.fit(data.documents), "nothing": nothing}
    comparison = compare(methods, data, [6])
    assert cell(comparison, "nothing", 6).gains["overlap@10"].high < 0


def test_a_prefix_has_no_full_width(vectors):
    data = TrainingData.read(vectors[:300], None, vectors[300:])
    methods = {"pca": Rotation.fit(data.documents), "prefix 6": Prefix(DIM, 6)}
    comparison = compare(methods, data, [3, 6])
    assert [item.dims for item in comparison.cells if item.method == "prefix 6"] == [3, 6]
