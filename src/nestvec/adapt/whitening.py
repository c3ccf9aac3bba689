"""Neighbour whitening: directions of much signal against little noise come first."""

import numpy as np

from nestvec.adapt.config import AdaptorConfig
from nestvec.adapt.training_data import Judgments, TrainingData
from nestvec.exact_top_k import exact_top_k
from nestvec.shapes import Float32, Float64
from nestvec.transforms.rotation import OrthogonalTransform

_MAX_ROWS = 20_000
"""Rows whose neighbours are looked up; more change nothing."""
_MIN_STRENGTH = 1e-9
"""Share of the strongest direction; weaker ones are rounding."""
_MAX_PAIRS_PER_QUERY = 8
"""A query with a hundred relevant documents must not outweigh the others."""


def neighbour_whitening(
    data: TrainingData, config: AdaptorConfig, seed: int
) -> Float32[np.ndarray, "dim dim"]:
    """Compute a map that evens out the differences of neighbours, and of relevant pairs."""
    noise = _unit_trace(within_neighbour_scatter(data.documents, config.whitening_neighbours, seed))
    shrinkage = config.shrinkage
    if data.judgments is not None:
        noise = (noise + _unit_trace(within_pair_scatter(data, data.judgments))) / 2
        shrinkage /= 2  # pairs know more of the noise
    return lda_directions(data.documents, noise, shrinkage)


def within_neighbour_scatter(
    documents: Float32[np.ndarray, "n dim"], k: int, seed: int
) -> Float64[np.ndarray, "dim dim"]:
    """Average the second moment of the differences between rows and their `k` nearest rows."""
    rng = np.random.default_rng([seed, 6])
    rows = documents[np.sort(rng.permutation(len(documents))[:_MAX_ROWS])]
    neighbours, _ = exact_top_k(rows, rows, k, self_match=np.arange(len(rows)))
    scatter = np.zeros((rows.shape[1],) * 2)
    for column in neighbours.T:
        exists = column >= 0  # among few rows some have fewer than k neighbours
        difference = rows[exists] - rows[column[exists]]
        scatter += difference.T @ difference
    return scatter / max(1, int(np.count_nonzero(neighbours >= 0)))


def within_pair_scatter(data: TrainingData, judgments: Judgments) -> Float64[np.ndarray, "dim dim"]:
    """Average the second moment of the differences between queries and their documents."""
    first_pair = np.searchsorted(judgments.queries, judgments.queries)
    used = np.arange(len(first_pair)) - first_pair < _MAX_PAIRS_PER_QUERY
    queries, documents = judgments.queries[used], judgments.documents[used]
    difference = data.queries[queries] - data.documents[documents]
    return np.asarray(difference.T @ difference / len(difference), dtype=np.float64)


def lda_directions(
    documents: Float32[np.ndarray, "n dim"],
    noise: Float64[np.ndarray, "dim dim"],
    shrinkage: float,
) -> Float32[np.ndarray, "dim dim"]:
    """Compute the directions of linear discriminant analysis, most signal to noise first.

    W = (N + shrinkage · tr(N)/dim · I)^(−1/2) makes the noise N even; the principal directions of
    the whitened documents follow, not centred. Without any noise, as where each row has copies for
    neighbours, W is the identity.
    """
    dim = len(noise)
    whitening = _inverse_root(noise + shrinkage * np.trace(noise) / dim * np.eye(dim))
    moment = documents.T @ documents / len(documents)
    signal = whitening @ moment @ whitening
    directions = OrthogonalTransform.from_second_moment(signal).matrix
    # Rows keep their mean square length: a learning rate then fits every initialization.
    strength = np.trace(signal)
    length = np.sqrt(np.trace(moment) / strength) if strength > 0 else 1
    return np.asarray(length * whitening @ directions, dtype=np.float32)


def _unit_trace(moment: Float64[np.ndarray, "dim dim"]) -> Float64[np.ndarray, "dim dim"]:
    """Scale a moment to trace 1; all zeros stay so."""
    return np.asarray(moment / max(np.trace(moment), 1e-30))


def _inverse_root(matrix: Float64[np.ndarray, "dim dim"]) -> Float64[np.ndarray, "dim dim"]:
    """Compute the symmetric inverse root of a positive semidefinite matrix; the identity for 0.

    Directions without strength are taken to have the least that rounding lets one see.
    """
    strengths, directions = np.linalg.eigh(matrix)
    if not strengths[-1] > 0:
        return np.eye(len(matrix))
    strengths = np.maximum(strengths, _MIN_STRENGTH * strengths[-1])
    return np.asarray(directions / np.sqrt(strengths) @ directions.T)
