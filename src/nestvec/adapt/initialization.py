"""The map at which training begins, and the maps whose rankings it keeps: closed forms."""

from dataclasses import replace

import numpy as np

from nestvec.adapt.config import AdaptorConfig, Teacher
from nestvec.adapt.evaluation import HeldOutQueries
from nestvec.adapt.training_data import TrainingData
from nestvec.adapt.whitening import neighbour_whitening
from nestvec.shapes import Float32
from nestvec.transforms.linear import LinearTransform
from nestvec.transforms.rotation import OrthogonalTransform

_STRETCH = 0.15
"""Power of second moments: inner products then count each direction by its strength to the .3."""
_MAX_QUERIES = 1_000
"""Judged queries that choose the teacher."""


def initial_map(
    data: TrainingData, config: AdaptorConfig, seed: int
) -> Float32[np.ndarray, "dim dim"]:
    """Compute the map at which training begins; columns are the dimensions, the best first."""
    if config.initialization == "identity":
        return np.eye(data.dim, dtype=np.float32)
    if config.initialization == "pca":
        return OrthogonalTransform.fit(data.documents).matrix
    return neighbour_whitening(data, config, seed)


def resolve_teacher(
    config: AdaptorConfig, data: TrainingData, nesting_dims: tuple[int, ...], seed: int
) -> AdaptorConfig:
    """Choose the teacher by relevance judgments, where the config leaves it open (*auto*).

    The teacher is the average with the neighbour whitening, unless the stretched principal
    directions have a higher nDCG@10, in the mean over nesting dims and full width. Neither of them
    is fitted to the judgments here, so all queries can be used.
    """
    if config.teacher != "auto":
        return config
    if data.judgments is None:
        return replace(config, teacher="average")
    rng, no_offset = np.random.default_rng([seed, 8]), np.zeros(data.dim, np.float32)
    sample = rng.permutation(len(data.queries))[:_MAX_QUERIES]
    held_out = HeldOutQueries.from_data(data.select_queries(sample))
    dims = sorted({*nesting_dims, data.dim})
    whitening = neighbour_whitening(replace(data, judgments=None), config, seed)
    whitening_score, stretched_score = (
        held_out.mean_over_dims(LinearTransform(matrix, no_offset), dims).mean()
        for matrix in (whitening, stretched_pca(data.documents))
    )
    teacher: Teacher = "average" if whitening_score >= stretched_score else "stretched_pca"
    return replace(config, teacher=teacher)


def teacher_maps(
    data: TrainingData, config: AdaptorConfig, seed: int
) -> tuple[Float32[np.ndarray, "dim dim"], ...]:
    """Compute the maps whose full-width cosines, averaged, the adaptor is to reproduce."""
    if config.teacher == "initialization":
        return (initial_map(data, config, seed),)
    if config.teacher == "stretched_pca":
        return (stretched_pca(data.documents),)
    identity = np.eye(data.dim, dtype=np.float32)
    if config.teacher == "vectors":
        return (identity,)
    return identity, neighbour_whitening(data, config, seed)


def stretched_pca(documents: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "dim dim"]:
    """Stretch the principal directions by their strength: weak ones are taken for noise.

    Rows keep their mean square length, as in `lda_directions`.
    """
    directions = OrthogonalTransform.fit(documents).matrix
    strengths = np.square(documents @ directions, dtype=np.float64).mean(axis=0)
    factors = strengths**_STRETCH
    length = np.sqrt(strengths.sum() / (strengths * factors**2).sum())
    return np.asarray(length * factors * directions, dtype=np.float32)
