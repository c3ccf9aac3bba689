"""Vectors that transforms are fitted to."""

import numpy as np
import pytest

DIM = 12


@pytest.fixture
def vectors(rng):
    """400 unit rows about 20 centres: signal in every third dimension, noise in all."""
    signal = rng.standard_normal((20, DIM)) * (np.arange(DIM) % 3 == 0)
    rows = signal[rng.integers(0, 20, 400)] + 0.5 * rng.standard_normal((400, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
