"""Stress: perturbed and unusual queries, and whether compression makes them suffer more.

Every function takes scores of queries, whatever the measure: nDCG or recall where there are
judgments, or else the overlap with the full vectors' ranking of the *clean* query. (Full vectors
have no errors when they are compared with their ranking of the stressed query.)
"""

import numpy as np

from nestvec.auditing.measures.paired import (
    Paired,
    drop_missing,
    interaction,
    retention,
    slice_interaction,
)
from nestvec.auditing.types import CheckResult
from nestvec.errors import InputError
from nestvec.shapes import Bool, Float, Float32, Float64, Int64
from nestvec.statistics import bootstrap_mean
from nestvec.vectors import BLOCK_ROWS

COSINES = (0.99, 0.97, 0.95)
"""Cosines between a noisy query and the original."""
TAIL = 0.1
"""Share of the queries that are the long tail."""
SHRINKAGE = 0.01
"""Weight of the mean variance in the covariance, just enough for it to have an inverse."""


def noisy_queries(
    queries: Float32[np.ndarray, "q dim"], cosine: float, rng: np.random.Generator
) -> Float32[np.ndarray, "q dim"]:
    """Turn queries in random directions until their cosine to the originals is `cosine`.

    Gaussian noise at right angles to each query, scaled so that lengths stay: at 1 nothing changes.
    Zero rows stay zero. One dimension has no other direction.
    """
    if not 0 < cosine <= 1 or queries.shape[1] < 2:
        raise InputError(
            f"cosine={cosine} of queries with {queries.shape[1]} dimensions cannot be had; "
            "use 0 < cosine <= 1 and at least 2 dimensions"
        )
    vectors = queries.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    along = vectors / np.where(lengths > 0, lengths, 1)
    noise = rng.standard_normal(vectors.shape)
    noise -= (noise * along).sum(axis=1, keepdims=True) * along
    noise *= lengths / np.linalg.norm(noise, axis=1, keepdims=True)
    turned = cosine * vectors + np.sqrt(1 - cosine**2) * noise
    return np.asarray(turned, dtype=np.float32)


def perturbation_effect(
    name: str, clean: Paired, stressed: Paired, rng: np.random.Generator
) -> CheckResult:
    """Scores of the same queries before and after a perturbation.

    Metrics: `{name}_retention` (variant / full on the stressed queries) and `{name}_interaction`,
    that over retention on the clean ones: below 1 the variant amplifies the stress. Each is left
    out where its divisor is 0. Details, as `name`: the four means.
    """
    metrics = {
        f"{name}_retention": retention(stressed, rng),
        f"{name}_interaction": interaction(clean, stressed, rng),
    }
    details = {"clean": _means(clean, rng), "stressed": _means(stressed, rng)}
    return CheckResult(drop_missing(metrics), {name: details})


def slice_effect(
    name: str, values: Paired, mask: Bool[np.ndarray, " q"], rng: np.random.Generator
) -> CheckResult:
    """Scores of a slice beside the other queries, named as by `perturbation_effect`.

    `mask` is True for the queries of the slice.
    """
    if mask.all() or not mask.any():
        raise InputError(
            f"slice {name!r} holds {mask.sum()} of {len(mask)} queries; it must hold some, not all"
        )
    in_slice, complement = (Paired(*(side[rows] for side in values)) for rows in (mask, ~mask))
    metrics = {
        f"{name}_retention": retention(in_slice, rng),
        f"{name}_interaction": slice_interaction(complement, in_slice, rng),
    }
    details = {"clean": _means(complement, rng), "stressed": _means(in_slice, rng)}
    return CheckResult(drop_missing(metrics), {name: details})


def out_of_distribution(
    values: Paired, distances: Float64[np.ndarray, " q"], rng: np.random.Generator
) -> CheckResult:
    """Scores of the quarter of the queries that is farthest from the corpus.

    As `slice_effect` by the name "farthest_quarter", with all `quarters` in the details, nearest
    first, and the distance at which each ends.
    """
    quarter = distance_quarters(distances)
    result = slice_effect("farthest_quarter", values, quarter == 3, rng)
    table = [
        {"distance": float(distances[quarter == i].max())}
        | _means(Paired(*(side[quarter == i] for side in values)), rng)
        for i in range(4)
    ]
    details = result.details["farthest_quarter"] | {"quarters": table}
    return CheckResult(result.metrics, {"farthest_quarter": details})


def long_tail(
    values: Paired, frequencies: Int64[np.ndarray, " q"], rng: np.random.Generator
) -> CheckResult:
    """Scores of the rarest tenth of the queries, as `slice_effect` by the name "rarest_tenth".

    `frequencies` are those of each query in a log, or of its class or topic. Queries as rare as the
    last of the tenth belong to it too.
    """
    edge = np.quantile(frequencies, TAIL, method="lower")
    return slice_effect("rarest_tenth", values, frequencies <= edge, rng)


def mahalanobis_distance(
    queries: Float[np.ndarray, "q dim"], documents: Float[np.ndarray, "n dim"]
) -> Float64[np.ndarray, " q"]:
    """Mahalanobis distance of each query from the documents, in their standard deviations.

    From at most `BLOCK_ROWS` documents, evenly spaced. The covariance is shrunk by 1 % towards the
    mean variance, for it has no inverse where dimensions outnumber documents or repeat each other.
    """
    sample = documents[:: -(-len(documents) // BLOCK_ROWS)].astype(np.float64)
    mean = sample.mean(axis=0)
    sample -= mean
    covariance = sample.T @ sample / len(sample)
    variance = float(np.trace(covariance)) / len(covariance) or 1.0
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * variance * np.eye(len(covariance))
    offsets = queries.astype(np.float64) - mean
    squares = np.einsum("qd,dq->q", offsets, np.linalg.solve(covariance, offsets.T))
    return np.asarray(np.sqrt(squares))


def distance_quarters(distances: Float64[np.ndarray, " q"]) -> Int64[np.ndarray, " q"]:
    """Number the quarters of the queries: 0 for the nearest to 3 for the farthest; ties by row."""
    place = np.empty(len(distances), dtype=np.int64)
    place[np.argsort(distances, kind="stable")] = np.arange(len(distances))
    return 4 * place // len(distances)


def _means(values: Paired, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    return {
        "full": bootstrap_mean(values.full, rng)._asdict(),
        "variant": bootstrap_mean(values.variant, rng)._asdict(),
    }
