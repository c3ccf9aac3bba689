"""Report of a cascade on labelled rows: by prefix, by class size, and in dimensions read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.classify.cascade import Cascade, Labels
from nestvec.classify.thresholds import PrefixPredictions
from nestvec.deprecation import renamed_attributes, renamed_fields
from nestvec.shapes import Bool, Float64, Int64
from nestvec.statistics import Estimate, proportion

SCHEMA = "nestvec.classify-report/2"
"""The names in `CascadeReport.to_json`; reports without a schema are of version 1."""
_BINS = 15
_SLICES = 3


@renamed_fields({"answered": "exit_share"})
@dataclass(frozen=True, slots=True)
class PrefixReport:
    """The classifier of one prefix: alone on all rows, and its part in the cascade."""

    dims: int
    accuracy: Estimate
    calibration_error: float
    """Mean |probability − share correct| over 15 bins of the probability (ECE)."""
    threshold: float | None
    exit_share: float
    """The share of rows whose label is this classifier's."""


@renamed_fields({"fewest": "min_class_rows", "most": "max_class_rows", "by_size": "by_dims"})
@dataclass(frozen=True, slots=True)
class SliceReport:
    """The rows of classes that had `min_class_rows` to `max_class_rows` rows to be fitted on."""

    min_class_rows: int
    max_class_rows: int
    classes: int
    rows: int
    by_dims: tuple[float, ...]
    """The accuracy of each classifier alone."""
    cascade: float
    """The accuracy of the cascade."""


@renamed_fields(
    {
        "full": "full_width",
        "expected_dims_summed": "expected_dims_computed",
        "sizes": "prefixes",
    }
)
@dataclass(frozen=True, slots=True)
class CascadeReport:
    """Accuracy and cost of a cascade on labelled rows. Intervals are exact, at 95 %."""

    rows: int
    accuracy: Estimate
    full_width: Estimate
    """The accuracy of the widest classifier alone."""
    lost: Estimate
    """The share of rows that are correct at full width and wrong by the cascade."""
    expected_dims: float
    """The mean of the widest prefix read: the dimensions to be stored close by, and moved."""
    expected_dims_computed: float
    """The mean of the sum of all prefixes read: the dimensions in products."""
    prefixes: tuple[PrefixReport, ...]
    slices: tuple[SliceReport, ...]

    def to_json(self) -> dict[str, Any]:
        """Return its values by name, with the `schema` of the names."""
        values: dict[str, Any] = _plain(self)
        return {"schema": SCHEMA, **values}


def report(cascade: Cascade, vectors: ArrayLike, labels: Labels) -> CascadeReport:
    """Evaluate a cascade on vectors [n, dim] that nothing was fitted on, with their labels [n]."""
    predictions = cascade.predict_prefixes(vectors, labels)
    exit_index = predictions.exit_index(cascade.thresholds)
    correct = predictions.correct_at(exit_index)
    dims = np.array(cascade.dims)
    computed = np.where(cascade.is_read, dims, 0).cumsum()
    return CascadeReport(
        rows=len(exit_index),
        accuracy=_share(correct),
        full_width=_share(predictions.correct[-1]),
        lost=_share(predictions.lost(cascade.thresholds)),
        expected_dims=float(dims[exit_index].mean()),
        expected_dims_computed=float(computed[exit_index].mean()),
        prefixes=tuple(_prefixes(cascade, predictions, exit_index)),
        slices=tuple(_slices(cascade, predictions, correct, list(labels))),
    )


def _share(correct: Bool[np.ndarray, " n"]) -> Estimate:
    return proportion(int(correct.sum()), len(correct))


def _prefixes(
    cascade: Cascade, predictions: PrefixPredictions, exit_index: Int64[np.ndarray, " n"]
) -> Iterator[PrefixReport]:
    for place, dims in enumerate(cascade.dims):
        probability, correct = predictions.probability[place], predictions.correct[place]
        yield PrefixReport(
            dims,
            _share(correct),
            calibration_error(probability, correct),
            cascade.thresholds[place] if place < len(cascade.thresholds) else None,
            float((exit_index == place).mean()),
        )


def calibration_error(
    probability: Float64[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]
) -> float:
    """Compute the mean |probability − share correct| over 15 equal bins (Guo et al., 2017)."""
    bins = np.minimum((probability * _BINS).astype(np.int64), _BINS - 1)
    differences = np.bincount(bins, weights=probability - correct, minlength=_BINS)
    return float(np.abs(differences).sum() / len(probability))


def _slices(
    cascade: Cascade,
    predictions: PrefixPredictions,
    correct: Bool[np.ndarray, " n"],
    labels: list[Any],
) -> Iterator[SliceReport]:
    """Divide the classes into thirds by their rows; classes of equal counts stay together."""
    counts = np.array(cascade.class_counts)
    places = {label: place for place, label in enumerate(cascade.labels)}
    row_counts = np.array([counts[places[label]] if label in places else -1 for label in labels])
    edges = np.unique(np.quantile(counts, np.arange(1, _SLICES) / _SLICES, method="lower"))
    for above, up_to in zip([-1, *edges], [*edges, counts.max()], strict=True):
        class_counts = counts[(counts > above) & (counts <= up_to)]
        rows = (row_counts > above) & (row_counts <= up_to) & (row_counts >= 0)
        if len(class_counts) and rows.any():
            yield SliceReport(
                int(class_counts.min()), int(class_counts.max()), len(class_counts),
                int(rows.sum()), tuple(predictions.correct[:, rows].mean(axis=1).tolist()),
                float(correct[rows].mean()),
            )  # fmt: skip


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return value._asdict()
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


__getattr__ = renamed_attributes(__name__, {"SizeReport": ("PrefixReport", PrefixReport)})
