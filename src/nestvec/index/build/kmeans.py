"""k-means cells over a prefix of the rotated dimensions.

The prefix that holds three quarters of the energy makes cells as good as the full width does, at a
third of the work (docs/explanation/decisions/0005): the vectors are nested, so the partition may
be too.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nestvec.kernels import load
from nestvec.kernels.layout import GROUP
from nestvec.parallel import run_in_slices
from nestvec.shapes import Float32, Float64, Int8, Int64

_ITERATIONS = 3
"""More do not help: 3 to 8 put the same share of true neighbours into the best cells."""

_SAMPLE_PER_CELL = 32
_ENERGY_SHARE = 0.75
_ASSIGN_BYTES = 1 << 26
_COLUMNS = 16
_NEAREST = 64
"""Nearest cells from which a row's spill cell is chosen: more do not help."""


def cell_count(rows: int) -> int:
    """Choose the number of cells for `rows` rows: 11.5·√rows, of 32 rows or more on average."""
    return int(max(1, min(11.5 * np.sqrt(rows), rows / 32)))


def cell_dims(energy: Float64[np.ndarray, " dim"]) -> int:
    """Width of the prefix that cells are trained on: whole groups with 3/4 of the energy."""
    share = np.cumsum(energy)
    enough = int(np.searchsorted(share, _ENERGY_SHARE * share[-1])) + 1
    return min(len(energy), -(-enough // GROUP) * GROUP)


def sample_size(cells: int) -> int:
    """Number of rows to train `cells` cells on."""
    return _SAMPLE_PER_CELL * cells


# "np.random.Generator" is quoted: naming it imports numpy.random, 10 ms of `import nestvec`.
def train_cells(
    sample: Float32[np.ndarray, "n dims"], cells: int, rng: "np.random.Generator"
) -> Float32[np.ndarray, "cells dims"]:
    """Run Lloyd's k-means from random rows; a cell that loses all rows restarts at a random row."""
    if len(sample) == 0:
        return np.zeros((cells, sample.shape[1]), np.float32)
    centroids = sample[np.sort(rng.choice(len(sample), cells, replace=False))].copy()
    for _ in range(_ITERATIONS):
        cell_ids = assign(sample, centroids)
        sums, counts = sum_by_cell(sample, cell_ids, cells)
        empty = np.flatnonzero(counts == 0)
        centroids = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        centroids[empty] = sample[rng.choice(len(sample), len(empty), replace=False)]
    return centroids


def assign(
    vectors: Float32[np.ndarray, "n dims"], centroids: Float32[np.ndarray, "cells dims"]
) -> Int64[np.ndarray, " n"]:
    """Assign each row the cell of its nearest centroid (Euclidean); of equals the smaller cell."""
    cell_ids = np.empty(len(vectors), np.int64)
    for part, scores in _nearness(vectors, centroids):
        cell_ids[part] = scores.argmax(axis=1)
    return cell_ids


def _nearness(
    vectors: Float32[np.ndarray, "n dims"], centroids: Float32[np.ndarray, "cells dims"]
) -> Iterator[tuple[slice, Float32[np.ndarray, "m cells"]]]:
    """Yield ⟨x, c⟩ − |c|²/2, which falls with the distance |x − c|, for one block after another."""
    half_squares = np.einsum("cd,cd->c", centroids, centroids) / 2
    # As one dimension more: the product then needs no second pass.
    columns = np.ascontiguousarray(np.hstack([centroids, -half_squares[:, None]]).T)
    step = max(1, _ASSIGN_BYTES // (4 * len(centroids)))
    for first in range(0, len(vectors), step):
        part = slice(first, min(first + step, len(vectors)))
        yield part, np.pad(vectors[part], ((0, 0), (0, 1)), constant_values=1) @ columns


def sum_by_cell(
    vectors: Float32[np.ndarray, "n dims"], cell_ids: Int64[np.ndarray, " n"], cells: int
) -> tuple[Float64[np.ndarray, "cells dims"], Int64[np.ndarray, " cells"]]:
    """Sum the rows of each cell in float64, and count them."""
    order = np.argsort(cell_ids, kind="stable")
    counts = np.bincount(cell_ids, minlength=cells)
    sums = np.zeros((cells, vectors.shape[1]))
    cells_with_rows = np.flatnonzero(counts)
    starts = (np.cumsum(counts) - counts)[cells_with_rows]
    # Some columns at a time: in order, and as float64, all would be three times the sample.
    for first in range(0, vectors.shape[1] if len(cells_with_rows) else 0, _COLUMNS):
        columns = slice(first, first + _COLUMNS)
        block = vectors[order, columns]
        sums[cells_with_rows, columns] = np.add.reduceat(block, starts, axis=0, dtype=np.float64)
    return sums, counts


class Centroids(NamedTuple):
    """Centroids in whole steps: `steps[c] · whole[c]` is centroid c."""

    whole: Int8[np.ndarray, "cells dims"]
    steps: Float32[np.ndarray, " cells"]

    @classmethod
    def rounded(cls, centroids: Float32[np.ndarray, "cells dims"]) -> "Centroids":
        """Round each centroid to 1/127 of its largest entry, which takes a fourth of the bytes."""
        steps = (np.abs(centroids).max(axis=1, initial=0) / np.float32(127)).astype(np.float32)
        safe = np.where(steps > 0, steps, np.float32(1))
        return cls(np.rint(centroids / safe[:, None]).astype(np.int8), steps)

    def values(self) -> Float32[np.ndarray, "cells dims"]:
        """Return the centroids as float32."""
        return np.asarray(self.steps[:, None] * self.whole)


def assign_with_spill(
    vectors: Float32[np.ndarray, "n dims"], centroids: Float32[np.ndarray, "cells dims"]
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Assign each row its nearest cell and a spill cell (−1 if there is one cell only).

    The spill cell is the one of the 64 nearest with the least |r'|² + λ ⟨r/|r|, r'⟩², where r and
    r' are the row's residuals to the first and to it (SOAR, Sun et al. 2023, eq. 5): a query that
    looks along r, and so misses the row in its first cell, looks across r'. Rows are independent,
    so the number of threads does not matter.
    """
    cells, spill_cells = np.empty(len(vectors), np.int64), np.empty(len(vectors), np.int64)
    nearest = min(_NEAREST, len(centroids))

    def assign_slice(
        scores: np.ndarray, rows: np.ndarray, cells: np.ndarray, spill_cells: np.ndarray
    ) -> None:
        load().assign_with_spill(scores, rows, centroids, nearest, cells, spill_cells)

    for block, scores in _nearness(vectors, centroids):
        run_in_slices(assign_slice, (scores, vectors[block], cells[block], spill_cells[block]))
    return cells, spill_cells


class CellAssignment(NamedTuple):
    """The slots of each row in its cell and in its spill cell.

    `kernels.layout` describes record ids, slots, and the blocks that slots lie in.
    """

    cell_ids: Int64[np.ndarray, " n"]
    spill_cells: Int64[np.ndarray, " n"]
    """Empty if there is one cell alone."""
    record_ids: Int64[np.ndarray, " n"]
    slots: Int64[np.ndarray, " n"]
    spill_slots: Int64[np.ndarray, " n"]
    counts: Int64[np.ndarray, " cells"]
    spill_counts: Int64[np.ndarray, " cells"]
    starts: Int64[np.ndarray, " starts"]
    """First primary block of each cell, and the number of primary blocks."""
    overflow_starts: Int64[np.ndarray, " starts"]
    """First overflow block of each cell, and the number of all blocks."""

    @classmethod
    def from_cells(
        cls,
        cell_ids: Int64[np.ndarray, " n"],
        spill_cells: Int64[np.ndarray, " n"],
        cells: int,
        lanes: int,
    ) -> "CellAssignment":
        """Lay rows out in blocks of `lanes` slots by their cells; a spill cell of −1 is none."""
        spill_cells = spill_cells[spill_cells >= 0]
        counts = np.bincount(cell_ids, minlength=cells)
        spill_counts = np.bincount(spill_cells, minlength=cells)
        primary_blocks = -(-counts // lanes)
        starts = np.concatenate([[0], np.cumsum(primary_blocks)])
        overflow = np.maximum(counts + spill_counts - lanes * primary_blocks, 0)
        overflow_starts = starts[-1] + np.concatenate([[0], np.cumsum(-(-overflow // lanes))])
        ranks, spill_ranks = _ranks(cell_ids, counts), _ranks(spill_cells, spill_counts)
        record_ids = (np.cumsum(counts) - counts)[cell_ids] + ranks
        slots = lanes * starts[cell_ids] + ranks
        # Spilled rows follow the primary rows of their cell; what does not fit is overflow.
        positions = counts[spill_cells] + spill_ranks
        positions_in_overflow = positions - lanes * primary_blocks[spill_cells]
        spill_slots = np.where(
            positions_in_overflow < 0,
            lanes * starts[spill_cells] + positions,
            lanes * overflow_starts[spill_cells] + positions_in_overflow,
        )
        return cls(
            cell_ids, spill_cells, record_ids, slots, spill_slots, counts, spill_counts, starts,
            overflow_starts,
        )  # fmt: skip

    def spill_record_ids(self) -> Int64[np.ndarray, " n"]:
        """Return the record ids of the spilled rows, spill cell after spill cell."""
        return self.record_ids[np.argsort(self.spill_cells, kind="stable")]


def _ranks(
    cells: Int64[np.ndarray, " n"], counts: Int64[np.ndarray, " cells"]
) -> Int64[np.ndarray, " n"]:
    """Count the rows before each row that are in the same cell."""
    order = np.argsort(cells, kind="stable")
    ranks = np.empty(len(cells), np.int64)
    ranks[order] = np.arange(len(cells)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks
