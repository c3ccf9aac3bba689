"""Adapters side by side."""

import json

import numpy as np
import pytest

from nestvec import Rotation
from nestvec.adapt import Linear, Prefix
from nestvec.adapt.compare import baselines, compare
from nestvec.adapt.training_data import Material

from .conftest import DIM


@pytest.fixture
def done(vectors):
    material = Material.read(vectors[:300], [(q, q) for q in range(100)], vectors[300:])
    return compare(baselines(material.documents, 0), material, [3, 6])


def cell(done, method, dims):
    return next(one for one in done.cells if (one.method, one.dims) == (method, dims))


def test_every_way_is_measured_at_every_size_and_at_full_width(done):
    found = {(one.method, one.dims) for one in done.cells}
    ways = {(name, size) for name in ("prefix", "random", "pca") for size in (3, 6, DIM)}
    assert found == ways | {("pca, 8 bits", 3)}
    assert (done.queries, done.documents) == (100, 300)


def test_rotations_change_nothing_at_full_width(done):
    for method in ("prefix", "random"):
        gains = cell(done, method, DIM).gains
        assert abs(gains["ndcg@10"].value) < 0.01  # ties may fall either way
        assert cell(done, method, DIM).metrics["overlap@10"].value == pytest.approx(1, abs=0.005)


def test_the_baseline_gains_nothing_over_itself_and_a_control_has_as_many_bytes(done):
    assert cell(done, "pca", 3).gains["overlap@10"] == (0, 0, 0, 100)
    control, base = cell(done, "pca, 8 bits", 3), cell(done, "pca", 3)
    assert control.bytes == base.bytes == 12
    assert control.metrics["overlap@10"].value > 0.9  # all 12 dimensions, finely rounded


def test_intervals_hold_their_means_and_all_of_it_is_json(done):
    for one in done.cells:
        for estimate in (*one.metrics.values(), *one.gains.values()):
            assert estimate.low <= estimate.value <= estimate.high
    told = json.loads(json.dumps(done.to_json()))
    assert len(told["cells"]) == len(done.cells)


def test_the_same_seed_gives_the_same_comparison(vectors, done):
    material = Material.read(vectors[:300], [(q, q) for q in range(100)], vectors[300:])
    assert compare(baselines(material.documents, 0), material, [3, 6]) == done


def test_a_map_that_loses_all_is_seen_to(vectors):
    material = Material.read(vectors[:300], None, vectors[300:])
    nothing = Linear(np.zeros((DIM, DIM), np.float32), np.ones(DIM, np.float32))
    methods = {"pca": Rotation.fit(material.documents), "nothing": nothing}
    found = compare(methods, material, [6])
    assert cell(found, "nothing", 6).gains["overlap@10"].high < 0


def test_what_cuts_has_no_full_width(vectors):
    material = Material.read(vectors[:300], None, vectors[300:])
    methods = {"pca": Rotation.fit(material.documents), "cut": Prefix(DIM, 6)}
    found = compare(methods, material, [3, 6])
    assert [one.dims for one in found.cells if one.method == "cut"] == [3, 6]
