"""Adapters side by side, at every size, on queries that none of them saw."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nestvec.adapt.evaluation import HeldOut, K, PerQuery
from nestvec.adapt.training_data import Material
from nestvec.progress import Progress, silent
from nestvec.shapes import Float32
from nestvec.statistics import bootstrap_mean
from nestvec.transforms.base import Adapter, check_sizes
from nestvec.transforms.rotation import Rotation

if TYPE_CHECKING:
    from nestvec.statistics import Estimate

BASELINE = "pca"
"""What every other way is compared with, query by query."""
_CONTROL = "pca, 8 bits"
_BYTES = 4
_LEVELS = 255


@dataclass(frozen=True, slots=True)
class Cell:
    """One way to make vectors small, at one size."""

    method: str
    dims: int
    bytes: int
    metrics: Mapping[str, "Estimate"]
    gains: Mapping[str, "Estimate"]
    """Over the baseline of as many dimensions; over that of as many bytes for the 8-bit control."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All ways at all sizes; the last size is the full width."""

    cells: tuple[Cell, ...]
    queries: int
    documents: int

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def baselines(documents: Float32[np.ndarray, "n dim"], seed: int) -> dict[str, Adapter]:
    """The ways that need no training: the plain prefix, a random rotation, the principal one."""
    dim = documents.shape[1]
    return {
        "prefix": Rotation.identity(dim),
        "random": Rotation.random(dim, seed),
        BASELINE: Rotation.fit(documents),
    }


def compare(
    methods: Mapping[str, Adapter],
    material: Material,
    dims: Sequence[int],
    seed: int = 0,
    progress: Progress = silent,
) -> Comparison:
    """Every method at every size and at full width, by the material's queries.

    nDCG@10 by judgements, if there are any, and overlap@10 with the full-width ranking; each mean
    with its bootstrap interval, and what it gains over the baseline, paired by query. A control
    has as many bytes as the baseline, in four times the dimensions at 8 bits.
    """
    sizes = tuple(sorted({*check_sizes(dims, material.dim), material.dim}))
    exams = _exams(material)
    rng = np.random.default_rng([seed, 7])
    with progress("Comparing", len(methods) + 1) as advance:
        values: dict[tuple[str, int], dict[str, PerQuery]] = {}
        for name, method in methods.items():
            for size, graded in _graded(method, exams, sizes).items():
                values[name, size] = graded
            advance(1)
        values |= _controls(methods[BASELINE], exams, material, sizes)
        advance(1)

    def cell(name: str, size: int, found: Mapping[str, PerQuery]) -> Cell:
        base = values[BASELINE, size]
        return Cell(
            name, size, _BYTES * size,
            {metric: bootstrap_mean(v, rng) for metric, v in found.items()},
            {metric: bootstrap_mean(v - base[metric], rng) for metric, v in found.items()},
        )  # fmt: skip

    cells = tuple(cell(*key, found) for key, found in values.items())
    return Comparison(cells, len(material.queries), len(material.documents))


def _exams(material: Material) -> dict[str, HeldOut]:
    """By what each query is to find."""
    plain = Material(material.documents, material.queries, material.own)
    exams = {f"overlap@{K}": HeldOut.of(plain)}
    return exams if material.judged is None else {f"ndcg@{K}": HeldOut.of(material), **exams}


def _graded(
    method: Adapter, exams: Mapping[str, HeldOut], sizes: Sequence[int]
) -> dict[int, dict[str, PerQuery]]:
    """At the sizes that the method has: one that cuts has no full width."""
    there = [size for size in sizes if size <= method.width]
    measured = {metric: exam.measure(method, there) for metric, exam in exams.items()}
    return {size: {metric: of[size] for metric, of in measured.items()} for size in there}


def _controls(
    baseline: Adapter, exams: Mapping[str, HeldOut], material: Material, sizes: Sequence[int]
) -> dict[tuple[str, int], dict[str, PerQuery]]:
    """The baseline of four times as many dimensions, rounded to 8 bits: as many bytes."""
    queries, documents = (
        baseline.transform(material.queries),
        baseline.transform(material.documents),
    )
    return {
        (_CONTROL, size): {
            metric: exam.grade(queries[:, : 4 * size], _rounded(documents[:, : 4 * size]))
            for metric, exam in exams.items()
        }
        for size in sizes
        if 4 * size <= material.dim
    }


def _rounded(rows: Float32[np.ndarray, "n dims"]) -> Float32[np.ndarray, "n dims"]:
    """Each dimension at 255 even levels between its ends."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    step = np.where(high > low, (high - low) / _LEVELS, np.float32(1))
    return np.asarray(low + step * np.rint((rows - low) / step), dtype=np.float32)
