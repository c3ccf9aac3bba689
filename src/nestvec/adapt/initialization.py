"""Where training starts, and what it is taught by: closed forms."""

from dataclasses import replace

import numpy as np

from nestvec.adapt.config import Recipe
from nestvec.adapt.evaluation import HeldOut, nearest
from nestvec.adapt.training_data import Judged, Material
from nestvec.shapes import Float32, Float64
from nestvec.transforms.linear import Linear
from nestvec.transforms.rotation import Rotation

_STRETCH = 0.15
"""Of second moments: inner products then count each direction by its strength to the power .3."""
_ASKED = 1_000
"""Judged queries that choose who teaches."""
_ROWS = 20_000
"""Rows whose neighbours are looked up; more change nothing."""
_FLOOR = 1e-9
"""Of the strongest direction; what is weaker is rounding."""
_MOST_PAIRS = 8
"""Of one query: one that a hundred documents answer does not outweigh the others."""


def starting_point(material: Material, recipe: Recipe, seed: int) -> Float32[np.ndarray, "dim dim"]:
    """The map that a recipe begins with; columns are the dimensions, the best first."""
    if recipe.start == "identity":
        return np.eye(material.dim, dtype=np.float32)
    if recipe.start == "rotation":
        return Rotation.fit(material.documents).matrix
    return neighbour_whitening(material, recipe, seed)


def settled(recipe: Recipe, material: Material, sizes: tuple[int, ...], seed: int) -> Recipe:
    """The recipe with its teacher chosen, if it leaves that open.

    The neighbour whitening, unless the stretched directions rank the judged queries better: by
    nDCG@10, mean over sizes and full width. Neither has seen the pairs then, so that all of these
    may judge.
    """
    if recipe.teacher != "chosen":
        return recipe
    if material.judged is None:
        return replace(recipe, teacher="both")
    rng, none = np.random.default_rng([seed, 8]), np.zeros(material.dim, np.float32)
    exam = HeldOut.of(material.ask(rng.permutation(len(material.queries))[:_ASKED]))
    dims = sorted({*sizes, material.dim})
    whitening = neighbour_whitening(replace(material, judged=None), recipe, seed)
    worth = {
        teacher: exam.over_sizes(Linear(matrix, none), dims).mean()
        for teacher, matrix in (("both", whitening), ("stretched", stretched(material.documents)))
    }
    return replace(recipe, teacher="both" if worth["both"] >= worth["stretched"] else "stretched")


def teachers(
    material: Material, recipe: Recipe, seed: int
) -> tuple[Float32[np.ndarray, "dim dim"], ...]:
    """The maps whose full-width cosines a settled recipe keeps, on average."""
    if recipe.teacher == "start":
        return (starting_point(material, recipe, seed),)
    if recipe.teacher == "stretched":
        return (stretched(material.documents),)
    own = np.eye(material.dim, dtype=np.float32)
    if recipe.teacher == "vectors":
        return (own,)
    return own, neighbour_whitening(material, recipe, seed)


def stretched(documents: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "dim dim"]:
    """The principal directions, each stretched by its strength: weak ones are taken for noise.

    As long as the rows were, as in `whitened`.
    """
    directions = Rotation.fit(documents).matrix
    strengths = np.square(documents @ directions, dtype=np.float64).mean(axis=0)
    by = strengths**_STRETCH
    length = np.sqrt(strengths.sum() / (strengths * by**2).sum())
    return np.asarray(length * by * directions, dtype=np.float32)


def neighbour_whitening(
    material: Material, recipe: Recipe, seed: int
) -> Float32[np.ndarray, "dim dim"]:
    """Even out what rows that mean the same differ by: nearest rows, and judged pairs if any."""
    noise = _share(neighbour_noise(material.documents, recipe.nearest, seed))
    shrinkage = recipe.shrinkage
    if material.judged is not None:
        noise = (noise + _share(pair_noise(material, material.judged))) / 2
        shrinkage /= 2  # pairs know more of the noise
    return whitened(material.documents, noise, shrinkage)


def neighbour_noise(
    documents: Float32[np.ndarray, "n dim"], k: int, seed: int
) -> Float64[np.ndarray, "dim dim"]:
    """The second moment of what rows and their `k` nearest differ by: rows that mean the same."""
    rng = np.random.default_rng([seed, 6])
    rows = documents[np.sort(rng.permutation(len(documents))[:_ROWS])]
    found = nearest(rows, rows, np.arange(len(rows)), k)
    noise = np.zeros((rows.shape[1],) * 2)
    for near in found.T:
        there = near >= 0  # of few rows some have no more neighbours
        away = rows[there] - rows[near[there]]
        noise += away.T @ away
    return noise / max(1, int(np.count_nonzero(found >= 0)))


def pair_noise(material: Material, judged: Judged) -> Float64[np.ndarray, "dim dim"]:
    """The second moment of what queries and the documents that answer them differ by."""
    first = np.searchsorted(judged.queries, judged.queries)
    some = np.arange(len(first)) - first < _MOST_PAIRS
    away = material.queries[judged.queries[some]] - material.documents[judged.documents[some]]
    return np.asarray(away.T @ away / len(away), dtype=np.float64)


def whitened(
    documents: Float32[np.ndarray, "n dim"],
    noise: Float64[np.ndarray, "dim dim"],
    shrinkage: float,
) -> Float32[np.ndarray, "dim dim"]:
    """Linear discriminant analysis: directions of much signal against little noise come first.

    W = (N + shrinkage · tr(N)/dim · I)^(−1/2) makes the noise N even; the principal directions
    of what W makes of the documents follow, not centred. Without any noise, as where each row has
    its copies for neighbours, W is the identity.
    """
    dim = len(noise)
    whitening = _inverse_root(noise + shrinkage * np.trace(noise) / dim * np.eye(dim))
    moment = documents.T @ documents / len(documents)
    signal = whitening @ moment @ whitening
    directions = Rotation.from_second_moment(signal).matrix
    # As long as the rows were: a learning rate then means the same, whatever the start.
    strength = np.trace(signal)
    length = np.sqrt(np.trace(moment) / strength) if strength > 0 else 1
    return np.asarray(length * whitening @ directions, dtype=np.float32)


def _share(moment: Float64[np.ndarray, "dim dim"]) -> Float64[np.ndarray, "dim dim"]:
    """Of trace 1; all zeros stay so."""
    return np.asarray(moment / max(np.trace(moment), 1e-30))


def _inverse_root(matrix: Float64[np.ndarray, "dim dim"]) -> Float64[np.ndarray, "dim dim"]:
    """The symmetric root of the inverse of a positive semidefinite matrix; of 0 the identity.

    Directions without strength are taken to have the least that rounding lets one see.
    """
    strengths, directions = np.linalg.eigh(matrix)
    if not strengths[-1] > 0:
        return np.eye(len(matrix))
    strengths = np.maximum(strengths, _FLOOR * strengths[-1])
    return np.asarray(directions / np.sqrt(strengths) @ directions.T)
