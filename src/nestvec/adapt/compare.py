"""Transforms side by side, at every dims, on queries that none of them was fitted to."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nestvec.adapt.evaluation import HeldOutQueries, K, PerQuery
from nestvec.adapt.learned_rotation import Rotation
from nestvec.adapt.training_data import TrainingData, check_dims_list
from nestvec.deprecation import renamed_fields
from nestvec.progress import Progress, silent
from nestvec.shapes import Float32
from nestvec.statistics import bootstrap_mean
from nestvec.transforms.base import Transform

if TYPE_CHECKING:
    from nestvec.statistics import Estimate

PCA_BASELINE = "pca"
"""The method that every other is compared with, query by query."""
EIGHT_BIT_CONTROL = "pca, 8 bits"
_BYTES_PER_FLOAT = 4
_LEVELS = 255
"""Steps between the 256 values of 8 bits."""


@renamed_fields({"bytes": "size_bytes"})
@dataclass(frozen=True, slots=True)
class ComparisonCell:
    """The scores of one method at one number of dims."""

    method: str
    dims: int
    size_bytes: int
    """Per vector."""
    metrics: Mapping[str, "Estimate"]
    gains: Mapping[str, "Estimate"]
    """Over PCA at as many dims; the 8-bit control, over PCA of as many bytes."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The scores of all methods at all dims; the last dims are the full width."""

    cells: tuple[ComparisonCell, ...]
    queries: int
    documents: int

    def to_json(self) -> dict[str, Any]:
        """Give everything as JSON values."""
        return asdict(self)


def baselines(documents: Float32[np.ndarray, "n dim"], seed: int) -> dict[str, Transform]:
    """Fit the methods that need no training: the plain prefix, a random rotation, and PCA."""
    dim = documents.shape[1]
    return {
        "prefix": Rotation.identity(dim),
        "random rotation": Rotation.random(dim, seed),
        PCA_BASELINE: Rotation.fit(documents),
    }


def compare(
    methods: Mapping[str, Transform],
    data: TrainingData,
    dims: Sequence[int],
    seed: int = 0,
    progress: Progress = silent,
) -> Comparison:
    """Score every method at every dims and at full width, by the queries of `data`.

    Metrics are nDCG@10 by judgments, if there are any, and overlap@10 with the full-width ranking,
    each mean with its bootstrap interval and with its gain over PCA, paired by query. `methods`
    must have PCA under "pca". A control has as many bytes as PCA, in four times the dimensions at
    8 bits.
    """
    widths = tuple(sorted({*check_dims_list(dims, data.dim), data.dim}))
    test_sets = _test_sets(data)
    rng = np.random.default_rng([seed, 7])
    with progress("Comparing", len(methods) + 1) as advance:
        scores: dict[tuple[str, int], dict[str, PerQuery]] = {}
        for name, method in methods.items():
            for width, method_scores in _scores_at_dims(method, test_sets, widths).items():
                scores[name, width] = method_scores
            advance(1)
        scores |= _eight_bit_controls(methods[PCA_BASELINE], test_sets, data, widths)
        advance(1)

    def make_cell(name: str, width: int, values: Mapping[str, PerQuery]) -> ComparisonCell:
        pca = scores[PCA_BASELINE, width]
        return ComparisonCell(
            name,
            width,
            _BYTES_PER_FLOAT * width,
            {metric: bootstrap_mean(v, rng) for metric, v in values.items()},
            {metric: bootstrap_mean(v - pca[metric], rng) for metric, v in values.items()},
        )

    cells = tuple(make_cell(*key, values) for key, values in scores.items())
    return Comparison(cells, len(data.queries), len(data.documents))


def _test_sets(data: TrainingData) -> dict[str, HeldOutQueries]:
    """Make held-out queries for each metric."""
    unjudged = TrainingData(data.documents, data.queries, data.self_match)
    test_sets = {f"overlap@{K}": HeldOutQueries.from_data(unjudged)}
    if data.judgments is None:
        return test_sets
    return {f"ndcg@{K}": HeldOutQueries.from_data(data), **test_sets}


def _scores_at_dims(
    method: Transform, test_sets: Mapping[str, HeldOutQueries], widths: Sequence[int]
) -> dict[int, dict[str, PerQuery]]:
    """Score a method at the dims that it has: one that truncates has no full width."""
    available = [width for width in widths if width <= method.width]
    scores = {
        metric: queries.score_dims(method, available) for metric, queries in test_sets.items()
    }
    return {
        width: {metric: by_width[width] for metric, by_width in scores.items()}
        for width in available
    }


def _eight_bit_controls(
    pca: Transform,
    test_sets: Mapping[str, HeldOutQueries],
    data: TrainingData,
    widths: Sequence[int],
) -> dict[tuple[str, int], dict[str, PerQuery]]:
    """Score PCA of four times as many dimensions, rounded to 8 bits: as many bytes."""
    queries, documents = pca.transform(data.queries), pca.transform(data.documents)
    return {
        (EIGHT_BIT_CONTROL, width): {
            metric: test_set.score(queries[:, : 4 * width], _rounded(documents[:, : 4 * width]))
            for metric, test_set in test_sets.items()
        }
        for width in widths
        if 4 * width <= data.dim
    }


def _rounded(rows: Float32[np.ndarray, "n dims"]) -> Float32[np.ndarray, "n dims"]:
    """Round each dimension to 256 even levels between its ends."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    step = np.where(high > low, (high - low) / _LEVELS, np.float32(1))
    return np.asarray(low + step * np.rint((rows - low) / step), dtype=np.float32)
