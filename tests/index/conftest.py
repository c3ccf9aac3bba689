"""Small indexes to search, copy and damage."""

import shutil

import numpy as np
import pytest

from nestvec import Index


def clustered(rng, n, dim):
    """Unit vectors about some dozen centres, of falling spread, as embeddings are."""
    centres = rng.standard_normal((24, dim))
    vectors = centres[rng.integers(0, 24, n)] + 0.6 * rng.standard_normal((n, dim))
    vectors *= np.exp(-2 * np.arange(dim) / dim)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="session")
def corpus():
    """3,000 vectors, and 40 queries that are not among them."""
    vectors = clustered(np.random.default_rng(7), 3040, 100)
    return vectors[:3000], vectors[3000:]


@pytest.fixture(scope="session")
def index(corpus, tmp_path_factory):
    """An index of `corpus` in some ninety cells, with texts and metadata."""
    vectors, _ = corpus
    return Index.build(
        vectors,
        tmp_path_factory.mktemp("session") / "corpus.nv",
        ids=[f"id-{row}é" for row in range(len(vectors))],
        texts=[f"text {row}" for row in range(len(vectors))],
        metadata=[{"row": row} for row in range(len(vectors))],
    )


@pytest.fixture
def copy(index, tmp_path):
    """A copy of the folder of `index`, to damage."""
    return shutil.copytree(index.path, tmp_path / "copy.nv")
