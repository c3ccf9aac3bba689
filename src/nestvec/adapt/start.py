"""Where training starts: closed forms that need documents alone."""

import numpy as np

from nestvec.adapt.heldout import nearest
from nestvec.adapt.recipe import Recipe
from nestvec.adapt.rotation import Rotation
from nestvec.shapes import Float32, Float64

_ROWS = 20_000
"""Rows whose neighbours are looked up; more change nothing."""


def starting_point(
    documents: Float32[np.ndarray, "n dim"], recipe: Recipe, seed: int
) -> Float32[np.ndarray, "dim dim"]:
    """The map that the recipe begins with; its columns are the dimensions, the best first."""
    if recipe.start == "identity":
        return np.eye(documents.shape[1], dtype=np.float32)
    if recipe.start == "rotation":
        return Rotation.fit(documents).matrix
    return neighbour_whitening(documents, recipe.nearest, recipe.shrinkage, seed)


def neighbour_whitening(
    documents: Float32[np.ndarray, "n dim"], k: int, shrinkage: float, seed: int
) -> Float32[np.ndarray, "dim dim"]:
    """Linear discriminant analysis with every row and its `k` nearest for a class of its own.

    N, the second moment of the differences between neighbours, says in which directions rows differ
    that mean the same. W = (N + shrinkage · tr(N)/dim · I)^(−1/2) makes that noise even; the
    principal directions of what W gives then come first where signal is strong against it.
    """
    rng = np.random.default_rng([seed, 6])
    chosen = np.sort(rng.permutation(len(documents))[:_ROWS])
    rows = documents[chosen]
    found = nearest(rows, rows, np.arange(len(rows)), k)
    noise = np.zeros((rows.shape[1],) * 2)
    for place in range(k):
        away = rows - rows[found[:, place]]
        noise += away.T @ away
    noise /= found.size
    noise += shrinkage * np.trace(noise) / len(noise) * np.eye(len(noise))
    whitening = _inverse_root(noise)
    signal = whitening @ (rows.T @ rows / len(rows)) @ whitening
    directions = Rotation.from_second_moment(signal).matrix
    return np.asarray(whitening @ directions, dtype=np.float32)


def _inverse_root(matrix: Float64[np.ndarray, "dim dim"]) -> Float64[np.ndarray, "dim dim"]:
    """The symmetric root of the inverse of a positive definite matrix."""
    strengths, directions = np.linalg.eigh(matrix)
    return np.asarray(directions / np.sqrt(strengths) @ directions.T)
