"""Vectors, and a transform of every kind."""

import numpy as np
import pytest

from nestvec.adapt import Chain, Linear, MatryoshkaAdaptor, Prefix, Rotation
from nestvec.transforms.residual import Map, Residual

DIM = 12


def clustered(rng, n, dim, spread=0.5):
    """Make unit rows about 20 centres: signal in every third dimension, noise in all."""
    signal = rng.standard_normal((20, dim)) * (np.arange(dim) % 3 == 0)
    rows = signal[rng.integers(0, 20, n)] + spread * rng.standard_normal((n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def vectors(rng):
    return clustered(rng, 400, DIM)


def numbers(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def two_sided(rng):
    """Make an adaptor with a hidden layer for queries and a matrix for documents."""
    hidden = Residual(numbers(rng, DIM, 7), numbers(rng, 7), numbers(rng, 7, DIM))
    return MatryoshkaAdaptor(
        Map(numbers(rng, DIM, DIM)), Map(numbers(rng, DIM, DIM), hidden), (3, 6), 0.5
    )


KINDS = {
    "rotation": lambda rng: Rotation.random(DIM, 3),
    "linear": lambda rng: Linear(numbers(rng, DIM, 9), numbers(rng, 9)),
    "prefix": lambda rng: Prefix(DIM, 5),
    "adaptor": two_sided,
    "chain": lambda rng: Chain.of(Rotation.random(DIM, 3), two_sided(rng), Prefix(DIM, 5)),
}


@pytest.fixture(params=KINDS)
def transform(request, rng):
    """A transform of every kind."""
    return KINDS[request.param](rng)
