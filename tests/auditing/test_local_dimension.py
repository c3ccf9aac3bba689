"""Local dimension: the number of directions in use, whatever the width."""

import numpy as np
import pytest

from nestvec.auditing.measures.local_dimension import local_dimension
from nestvec.auditing.ranking.full_ranking import rank_all
from nestvec.auditing.types import EmbeddingPair
from nestvec.vectors import normalize


def metrics_of(vectors, queries):
    embeddings = EmbeddingPair(queries, vectors)
    dimension = rank_all(embeddings, 20, np.full(len(queries), -1)).ranking
    return local_dimension(embeddings, dimension, np.random.default_rng(0)).metrics


@pytest.mark.parametrize("directions", [3, 5, 8])
def test_points_on_a_sphere_have_one_dimension_less_than_their_space(directions, rng):
    """In 32 dimensions, of which `directions` are in use."""
    points = np.zeros((6000, 32), np.float32)
    points[:, :directions] = rng.standard_normal((6000, directions))
    unit = normalize(points)
    dimension = metrics_of(unit[300:], unit[:300])["local_dimension"]
    assert dimension.value == pytest.approx(directions - 1, rel=0.2)
    assert dimension.low < dimension.value < dimension.high


def test_the_length_of_codes_does_not_matter(rng):
    unit = normalize(rng.standard_normal((500, 8)).astype(np.float32))
    unit_length, longer = metrics_of(unit[50:], unit[:50]), metrics_of(3 * unit[50:], unit[:50])
    assert unit_length["local_dimension"].value == pytest.approx(
        longer["local_dimension"].value, rel=1e-4
    )


def test_equally_far_neighbours_have_no_local_dimension():
    eye = np.eye(32, dtype=np.float32)
    assert metrics_of(eye[:30], eye[30:]) == {}
