"""Labelled vectors whose front dimensions already tell most classes apart."""

import numpy as np
import pytest


def labelled(rng, n=900, classes=6, dim=32):
    """Rows around `classes` centres, more noise behind: the longer the prefix, the surer."""
    labels = rng.integers(0, classes, n)
    centres = np.random.default_rng(1).standard_normal((classes, dim))
    rows = centres[labels] + 1.2 * rng.standard_normal((n, dim))
    return rows.astype(np.float32), np.array([f"class {label}" for label in labels])


@pytest.fixture(scope="session")
def train():
    return labelled(np.random.default_rng(2))


@pytest.fixture(scope="session")
def held_out():
    return labelled(np.random.default_rng(3), n=1200)


@pytest.fixture(scope="session")
def cascade(train):
    import nestvec as nv

    return nv.Cascade.fit(*train, dims=[4, 8, 16, 32], rotation="none")
