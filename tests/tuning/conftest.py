"""An index whose plans differ in recall, and queries that are not in it."""

import shutil

import numpy as np
import pytest

from nestvec import Index

K = 5


@pytest.fixture(scope="session")
def dataset():
    """4,000 unit vectors of falling spread, and 1,200 more of the same kind."""
    rng = np.random.default_rng(11)
    centres = rng.standard_normal((40, 48))
    rows = centres[rng.integers(0, 40, 5200)] + 0.7 * rng.standard_normal((5200, 48))
    rows *= np.exp(-1.5 * np.arange(48) / 48)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return rows[:4000], rows[4000:]


@pytest.fixture(scope="session")
def queries(dataset):
    return dataset[1]


@pytest.fixture(scope="session")
def index(dataset, tmp_path_factory):
    return Index.build(dataset[0], tmp_path_factory.mktemp("tune") / "corpus.nv")


@pytest.fixture
def changing(index, tmp_path):
    """A copy of `index`, to save plans in and to change."""
    return Index.open(shutil.copytree(index.path, tmp_path / "copy.nv"))
