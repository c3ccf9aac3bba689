"""Vectors whose first dimensions hold most information, and queries near single documents."""

from typing import NamedTuple

import numpy as np
import pytest

from nestvec.auditing.types import EmbeddingPair
from nestvec.vectors import normalize

WIDTH = 64


class Corpus(NamedTuple):
    """Unit vectors; document i is relevant to query i."""

    documents: np.ndarray
    queries: np.ndarray

    @property
    def full(self):
        return EmbeddingPair(self.queries, self.documents)

    @property
    def qrels(self):
        return {row: {row: 1} for row in range(len(self.queries))}


def make_corpus(n=400, q=200, noise=0.3, seed=7):
    rng = np.random.default_rng(seed)
    spread = np.arange(1, WIDTH + 1) ** -0.7
    documents = rng.standard_normal((n, WIDTH)) * spread
    queries = documents[:q] + noise * rng.standard_normal((q, WIDTH)) * spread
    return Corpus(*(normalize(side).astype(np.float32) for side in (documents, queries)))


@pytest.fixture(scope="session")
def corpus():
    return make_corpus()
