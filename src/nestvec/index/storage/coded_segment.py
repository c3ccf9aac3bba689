"""The coded cells of one immutable part of an index, memory-mapped beside its full vectors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.codes import Codec
from nestvec.errors import DamagedIndexError
from nestvec.index.storage.tensor_file import map_tensors
from nestvec.kernels import load, load_exact
from nestvec.kernels.backend import SegmentArrays, SegmentBounds, SegmentPlan
from nestvec.kernels.layout import GROUP, LANES, PARTS, RECORD_TAIL, Cells, part_bounds
from nestvec.plan import Plan
from nestvec.shapes import Float32, Int64, UInt8


def codes_name(segment: int) -> str:
    """Name the file of a segment's cells and codes."""
    return f"{segment:06}.codes.safetensors"


BULK = ("records", "head", "scale", "bias", "head_errors", "vectors")
"""Arrays that locate no other data, except for kernels, which check what they follow."""


TENSOR_NAMES = {
    "overflow_starts": "rests",
    "spill_counts": "spills",
    "spill_record_ids": "spill_homes",
}
"""Fields of `Cells` that have another name in files, which the file format fixes."""


def _segment_plan(codec: Codec, cells: int, rows: int, plan: Plan) -> Any:
    """Pack a `SegmentPlan`, limited to the rows and the cells that the segment has."""
    funnel = codec.funnel(plan)
    probe = cells if plan.probe is None else min(plan.probe, cells)
    plans = funnel._replace(keep=np.minimum(funnel.keep, rows))
    return load().pack(SegmentPlan(plans, probe, plan.full))


@dataclass(frozen=True, eq=False)
class SearchState:
    """State that searches compute once per segment, however its cells are ranked afterwards."""

    codec: Codec
    rotation: Float32[np.ndarray, "dim dim"]
    cells: int
    rows: int
    longest: float
    """Upper bound on the norms of the coded rows."""

    @cached_property
    def bounds(self) -> Any:
        """The data of upper bounds on scores: a packed `SegmentBounds`."""
        defect = float(load_exact().orthogonality_defect(self.rotation))
        parts, funnel = part_bounds(self.codec.dim), self.codec.full_funnel
        return load_exact().pack(SegmentBounds(funnel, parts, self.longest, defect))

    @cached_property
    def segment_plan(self) -> Callable[[Plan], Any]:
        """Function that packs a plan for this segment; it remembers the latest ones."""
        # A method whose answers are cached would keep each segment, and so its files, alive.
        return lru_cache(maxsize=64)(partial(_segment_plan, self.codec, self.cells, self.rows))


@dataclass(frozen=True, eq=False)
class Segment:
    """Coded rows of a segment in their cells, with the full-precision vectors of the rows."""

    path: Path
    cells: Cells
    codec: Codec
    vectors: Float32[np.ndarray, "n dim"]
    derived: SearchState

    @classmethod
    def open(cls, path: Path, vectors: Float32[np.ndarray, "n dim"]) -> "Segment":
        """Map the codes, and check all arrays that locate others, so that no kernel can stray."""
        arrays = map_tensors(path)
        try:
            segment = cls._from_arrays(path, arrays, vectors)
            _check_structure(segment.cells, segment.codec, len(vectors))
        except (KeyError, ValueError, IndexError) as e:
            raise DamagedIndexError(
                f"{path} is damaged ({e}); restore it or build the index again"
            ) from None
        return segment

    @classmethod
    def _from_arrays(
        cls, path: Path, arrays: Mapping[str, np.ndarray], vectors: np.ndarray
    ) -> "Segment":
        codec = Codec(arrays["sigma"], arrays["words"], arrays["coefficients"])
        records = arrays["records"]
        width = len(codec.words) + RECORD_TAIL
        _require(records.shape[1:] == (width,), "its records have another width")
        # Queries are rotated only as far as codes or centroids have dimensions.
        width = max(codec.width, min(codec.dim, 4 * arrays["centroids"].shape[1]))
        derived = {
            "row_offsets": np.concatenate([[0], np.cumsum(arrays["counts"])]),
            "spill_row_offsets": np.concatenate([[0], np.cumsum(arrays["spills"])]),
            "sigma": codec.sigma[:width],
            "record_floats": records.view(np.float32),
            "record_ints": records.view(np.int32),
        }
        for array in derived.values():
            # Like arrays of a mapped file, because kernels are compiled for those alone.
            array.flags.writeable = False
        cells = Cells(
            *(
                derived[name] if name in derived else arrays[TENSOR_NAMES.get(name, name)]
                for name in Cells._fields
            )
        )
        longest = float(arrays["longest"][0])
        state = SearchState(codec, cells.rotation, len(cells.counts), len(vectors), longest)
        return cls(path, cells, codec, vectors, state)

    @cached_property
    def packed(self) -> Any:
        """The arrays as kernels read them: a packed `SegmentArrays`."""
        return load().pack(SegmentArrays(self.cells, self.vectors))

    @property
    def probeable_cells(self) -> int:
        """Number of cells that a search may probe: all but those that `priors_for` ranks last."""
        return int(np.isfinite(self.cells.priors[: len(self.cells.counts)]).sum())

    def priors_for(self, allowed: UInt8[np.ndarray, " n"]) -> Float32[np.ndarray, " lanes"]:
        """Compute priors of −∞ for cells without an `allowed` row (1, by row): these rank last."""
        cells, count = self.cells, len(self.cells.counts)
        # A damaged record may name any row; kernels report it when they follow it.
        is_allowed = allowed.take(cells.rows, mode="clip") == 1  # by record id
        primary_cells = np.repeat(np.arange(count), cells.counts)
        spill_cells = np.repeat(np.arange(count), cells.spill_counts)
        has_rows = np.zeros(len(cells.priors), bool)
        has_rows[primary_cells[is_allowed]] = True
        has_rows[spill_cells[is_allowed[cells.spill_record_ids]]] = True
        priors = np.where(has_rows, cells.priors, np.float32(-np.inf))
        priors.flags.writeable = False
        return priors

    def with_priors(self, priors: Float32[np.ndarray, " lanes"]) -> "Segment":
        """Return the segment with other priors, by which cells are ranked."""
        return replace(self, cells=self.cells._replace(priors=priors))

    @property
    def hot_bytes(self) -> int:
        """Hot bytes: the size of cells and codes."""
        views = ("record_floats", "record_ints")
        arrays = self.cells._asdict().items()
        return sum(array.nbytes for name, array in arrays if name not in views)


def _check_structure(cells: Cells, codec: Codec, rows: int) -> None:
    count, slots, dim = len(cells.counts), len(cells.scale), codec.dim
    _require(cells.rotation.shape == (dim, dim), "its rotation has another size than its codec")
    _require(bool((codec.words[:, 0] * GROUP < dim).all()), "a word lies beyond the vectors")
    blocks, quads = cells.centroids.shape[:2]
    _require(blocks == -(-count // LANES) and 4 * quads < dim + 4, "its centroids do not fit")
    shapes = {
        "centroids": (blocks, quads, LANES, 4),
        "steps": (LANES * blocks,),
        "priors": (LANES * blocks,),
        "spreads": (LANES * blocks,),
        "starts": (count + 1,),
        "overflow_starts": (count + 1,),
        "spill_counts": (count,),
        "head": (slots // LANES, 8 * len(codec.head), LANES),
        "scale": (slots,),
        "bias": (slots if len(cells.bias) else 0,),
        "head_errors": (int(cells.starts[-1]), PARTS, LANES),
        "spill_record_ids": (int(cells.spill_counts.sum()),),
    }
    for name, shape in shapes.items():
        _require(getattr(cells, name).shape == shape, f"its {name} have another shape than needed")
    primary_blocks, overflow_blocks = np.diff(cells.starts), np.diff(cells.overflow_starts)
    _require(bool((primary_blocks >= 0).all() and (overflow_blocks >= 0).all()), "cell starts fall")
    _require(
        cells.starts[0] == 0 and cells.starts[-1] == cells.overflow_starts[0], "cells lack blocks"
    )
    _require(LANES * cells.overflow_starts[-1] == slots, "cells lack blocks")
    fits = np.minimum(cells.counts, cells.spill_counts) >= 0
    fits &= cells.counts <= LANES * primary_blocks
    fits &= cells.counts + cells.spill_counts <= LANES * (primary_blocks + overflow_blocks)
    _require(bool(fits.all()), "a cell has more rows than slots")
    rows_in_blocks = np.isfinite(cells.scale).reshape(-1, LANES).sum(axis=1)
    _require(bool((rows_in_blocks == _rows_in_blocks(cells)).all()), "a scale is damaged")
    _require(cells.counts.sum() == rows == len(cells.records), "it holds another number of rows")
    ids = cells.spill_record_ids
    _require(len(ids) == 0 or 0 <= ids.min() <= ids.max() < rows, "a spilled row has no record")


def _rows_in_blocks(cells: Cells) -> Int64[np.ndarray, " blocks"]:
    """Count the rows of each block."""
    n_rows, counts = cells.counts + cells.spill_counts, LANES * np.diff(cells.starts)
    parts = ((cells.starts, n_rows), (cells.overflow_starts, n_rows - counts))
    rows_in_blocks = []
    for starts, rows in parts:
        first = np.repeat(starts[:-1], np.diff(starts))
        first_blocks = LANES * (np.arange(starts[0], starts[-1]) - first)
        rows_in_blocks.append(np.clip(np.repeat(rows, np.diff(starts)) - first_blocks, 0, LANES))
    return np.concatenate(rows_in_blocks)


def _require(holds: bool | np.bool_, problem: str) -> None:
    if not holds:
        raise ValueError(problem)
