"""An index whose plans differ in recall, and queries that are not in it."""

import shutil

import numpy as np
import pytest

from nestvec import Index

K = 5


@pytest.fixture(scope="session")
def material():
    """4,000 unit vectors of falling spread, and 1,200 more of the same kind."""
    rng = np.random.default_rng(11)
    centres = rng.standard_normal((40, 48))
    made = centres[rng.integers(0, 40, 5200)] + 0.7 * rng.standard_normal((5200, 48))
    made *= np.exp(-1.5 * np.arange(48) / 48)
    made = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    return made[:4000], made[4000:]


@pytest.fixture(scope="session")
def queries(material):
    return material[1]


@pytest.fixture(scope="session")
def index(material, tmp_path_factory):
    return Index.build(material[0], tmp_path_factory.mktemp("tune") / "corpus.nv")


@pytest.fixture
def changing(index, tmp_path):
    """A copy of `index`, to keep plans in and to change."""
    return Index.open(shutil.copytree(index.path, tmp_path / "copy.nv"))
