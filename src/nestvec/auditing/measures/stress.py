"""Stress: difficult queries, made or chosen, and whether smaller vectors suffer more from them.

Every check takes what queries score, whatever the measure: nDCG or recall where there are
judgements, or else the share found of what the full vectors answer to the *clean* query. (Measured
against their own answer to the stressed query, the full vectors would never err.)
"""

from collections.abc import Mapping

import numpy as np

from nestvec.auditing.measures.paired import (
    Paired,
    interaction,
    known,
    retention,
    slice_interaction,
)
from nestvec.auditing.types import Findings, Side
from nestvec.errors import InputError
from nestvec.shapes import Bool, Float, Float32, Float64, Int64
from nestvec.statistics import bootstrap_mean
from nestvec.vectors import BLOCK_ROWS

COSINES = (0.99, 0.97, 0.95)
"""How near to what was meant queries with noise remain."""
TAIL = 0.1
SHRINKAGE = 0.01


def noisy_queries(
    queries: Float32[np.ndarray, "q dim"], cosine: float, rng: np.random.Generator
) -> Float32[np.ndarray, "q dim"]:
    """Queries turned in a random direction until their cosine to what they were is `cosine`.

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


def stress(name: str, clean: Paired, stressed: Paired, rng: np.random.Generator) -> Findings:
    """What the same queries score before and after something was done to them.

    Metrics: `{name}_retention` (variant / full on the stressed queries) and `{name}_interaction`,
    that over retention on the clean ones: below 1 the variant amplifies the stress. Each is left
    out where its divisor is 0. Details, as `name`: the four means.
    """
    found = {
        f"{name}_retention": retention(stressed, rng),
        f"{name}_interaction": interaction(clean, stressed, rng),
    }
    details = {"clean": _means(clean, rng), "stressed": _means(stressed, rng)}
    return Findings(known(found), {name: details})


def slice_stress(
    name: str, values: Paired, part: Bool[np.ndarray, " q"], rng: np.random.Generator
) -> Findings:
    """What the difficult `part` of the queries scores beside the rest, named as in `stress`."""
    if part.all() or not part.any():
        raise InputError(f"{name} are {part.sum()} of {len(part)} queries; there must be others")
    inside, outside = (Paired(*(side[rows] for side in values)) for rows in (part, ~part))
    found = {
        f"{name}_retention": retention(inside, rng),
        f"{name}_interaction": slice_interaction(outside, inside, rng),
    }
    details = {"clean": _means(outside, rng), "stressed": _means(inside, rng)}
    return Findings(known(found), {name: details})


def out_of_distribution(
    values: Paired, distances: Float64[np.ndarray, " q"], rng: np.random.Generator
) -> Findings:
    """The quarter of the queries that is farthest from the corpus, beside the rest.

    As `slice_stress` by the name "farthest_quarter", and in the details all `quarters`, nearest
    first, with the distance at which each ends.
    """
    quarter = quarters(distances)
    found = slice_stress("farthest_quarter", values, quarter == 3, rng)
    table = [
        {"distance": float(distances[quarter == i].max())}
        | _means(Paired(*(side[quarter == i] for side in values)), rng)
        for i in range(4)
    ]
    details = found.details["farthest_quarter"] | {"quarters": table}
    return Findings(found.metrics, {"farthest_quarter": details})


def long_tail(
    values: Paired, frequencies: Int64[np.ndarray, " q"], rng: np.random.Generator
) -> Findings:
    """The tenth of the queries whose groups are rarest, as `slice_stress` by "rarest_tenth".

    `frequencies` says how often the group of each query occurs (its class, its topic, itself in a
    log). Queries as rare as the last of the tenth belong to it too.
    """
    edge = np.quantile(frequencies, TAIL, method="lower")
    return slice_stress("rarest_tenth", values, frequencies <= edge, rng)


def asymmetry(
    full: Float64[np.ndarray, " q"],
    by_side: Mapping[Side, Float64[np.ndarray, " q"]],
    rng: np.random.Generator,
) -> Findings:
    """What is retained where only documents, only queries, or both are made smaller.

    `retention_documents`, `retention_queries` and `retention_both`, those that are given, of what
    `full` scores; nothing where that is 0.
    """
    found = {f"retention_{side}": retention(Paired(full, of), rng) for side, of in by_side.items()}
    return Findings(known(found))


def strangeness(
    queries: Float[np.ndarray, "q dim"], documents: Float[np.ndarray, "n dim"]
) -> Float64[np.ndarray, " q"]:
    """The Mahalanobis distance of each query from the documents, in their standard deviations.

    From at most `BLOCK_ROWS` documents, evenly spaced. The covariance is shrunk by 1 % towards the
    mean variance, for it has no inverse where dimensions outnumber documents or repeat each other.
    """
    sample = documents[:: -(-len(documents) // BLOCK_ROWS)].astype(np.float64)
    mean = sample.mean(axis=0)
    sample -= mean
    covariance = sample.T @ sample / len(sample)
    variance = float(np.trace(covariance)) / len(covariance) or 1.0
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * variance * np.eye(len(covariance))
    away = queries.astype(np.float64) - mean
    squares = np.einsum("qd,dq->q", away, np.linalg.solve(covariance, away.T))
    return np.asarray(np.sqrt(squares))


def quarters(distances: Float64[np.ndarray, " q"]) -> Int64[np.ndarray, " q"]:
    """0 for the nearest quarter of the queries to 3 for the farthest; equals by row."""
    place = np.empty(len(distances), dtype=np.int64)
    place[np.argsort(distances, kind="stable")] = np.arange(len(distances))
    return 4 * place // len(distances)


def _means(values: Paired, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    return {
        "full": bootstrap_mean(values.full, rng)._asdict(),
        "variant": bootstrap_mean(values.variant, rng)._asdict(),
    }
