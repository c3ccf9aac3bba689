"""How a cascade does on labelled rows: by size, by how common classes are, in dimensions read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.classify.cascade import Cascade, Labels
from nestvec.classify.thresholds import Answers
from nestvec.shapes import Bool, Float64, Int64
from nestvec.statistics import Estimate, proportion

_BINS = 15
_SLICES = 3


@dataclass(frozen=True, slots=True)
class SizeReport:
    """One size, used alone on all rows, and what it does in the cascade."""

    dims: int
    accuracy: Estimate
    calibration_error: float
    """Mean |how sure − how often right| over 15 bins of how sure it is (ECE)."""
    threshold: float | None
    answered: float
    """The share of rows whose answer is this size's."""


@dataclass(frozen=True, slots=True)
class SliceReport:
    """The rows of classes that had between `fewest` and `most` rows to learn from."""

    fewest: int
    most: int
    classes: int
    rows: int
    by_size: tuple[float, ...]
    """Accuracy of each size alone."""
    cascade: float


@dataclass(frozen=True, slots=True)
class CascadeReport:
    """What labelled rows say of a cascade. Intervals are exact, at 95 %."""

    rows: int
    accuracy: Estimate
    full: Estimate
    """Accuracy of the largest size alone."""
    lost: Estimate
    """The share of rows that the largest size gets right and the cascade gets wrong."""
    expected_dims: float
    """Mean of the largest size read: what has to be stored near, and moved."""
    expected_dims_summed: float
    """Mean of the sum of all sizes read: what is computed."""
    sizes: tuple[SizeReport, ...]
    slices: tuple[SliceReport, ...]

    def to_json(self) -> dict[str, Any]:
        """Its values by name."""
        told: dict[str, Any] = _plain(self)
        return told


def report(cascade: Cascade, vectors: ArrayLike, labels: Labels) -> CascadeReport:
    """Hold a cascade against rows that nothing was fitted on, with their labels."""
    answers = cascade.answers(vectors, labels)
    used = answers.used(cascade.thresholds)
    right, n = answers.of(used), len(used)
    dims = np.array(cascade.dims)
    summed = np.where(cascade.read, dims, 0).cumsum()
    return CascadeReport(
        rows=n,
        accuracy=_share(right),
        full=_share(answers.right[-1]),
        lost=_share(answers.lost(cascade.thresholds)),
        expected_dims=float(dims[used].mean()),
        expected_dims_summed=float(summed[used].mean()),
        sizes=tuple(_sizes(cascade, answers, used)),
        slices=tuple(_slices(cascade, answers, right, list(labels))),
    )


def _share(right: Bool[np.ndarray, " n"]) -> Estimate:
    return proportion(int(right.sum()), len(right))


def _sizes(
    cascade: Cascade, answers: Answers, used: Int64[np.ndarray, " n"]
) -> Iterator[SizeReport]:
    for place, dims in enumerate(cascade.dims):
        sure, right = answers.sure[place], answers.right[place]
        yield SizeReport(
            dims,
            _share(right),
            calibration_error(sure, right),
            cascade.thresholds[place] if place < len(cascade.thresholds) else None,
            float((used == place).mean()),
        )


def calibration_error(sure: Float64[np.ndarray, " n"], right: Bool[np.ndarray, " n"]) -> float:
    """Mean |how sure − how often right| over 15 bins of equal width (Guo et al., 2017)."""
    bins = np.minimum((sure * _BINS).astype(np.int64), _BINS - 1)
    apart = np.bincount(bins, weights=sure - right, minlength=_BINS)
    return float(np.abs(apart).sum() / len(sure))


def _slices(
    cascade: Cascade, answers: Answers, right: Bool[np.ndarray, " n"], labels: list[Any]
) -> Iterator[SliceReport]:
    """Thirds of the classes by how many rows they had; classes of one count stay together."""
    counts = np.array(cascade.counts)
    places = {label: place for place, label in enumerate(cascade.labels)}
    of_row = np.array([counts[places[label]] if label in places else -1 for label in labels])
    edges = np.unique(np.quantile(counts, np.arange(1, _SLICES) / _SLICES, method="lower"))
    for fewest, most in zip([-1, *edges], [*edges, counts.max()], strict=True):
        members = counts[(counts > fewest) & (counts <= most)]
        rows = (of_row > fewest) & (of_row <= most) & (of_row >= 0)
        if len(members) and rows.any():
            yield SliceReport(
                int(members.min()), int(members.max()), len(members), int(rows.sum()),
                tuple(answers.right[:, rows].mean(axis=1).tolist()), float(right[rows].mean()),
            )  # fmt: skip


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return value._asdict()
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
