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
"""Cells that compete for being a row's second: more do not help."""


def cell_count(rows: int) -> int:
    """Choose the number of cells for `rows` rows: 11.5·√rows, of 32 rows or more on average."""
    return int(max(1, min(11.5 * np.sqrt(rows), rows / 32)))


def cell_dims(energy: Float64[np.ndarray, " dim"]) -> int:
    """The prefix that cells are made on: whole groups holding three quarters of the energy."""
    share = np.cumsum(energy)
    enough = int(np.searchsorted(share, _ENERGY_SHARE * share[-1])) + 1
    return min(len(energy), -(-enough // GROUP) * GROUP)


def sample_size(cells: int) -> int:
    """Rows that `train_cells` wants to see."""
    return _SAMPLE_PER_CELL * cells


# "np.random.Generator" is quoted: naming it imports numpy.random, 10 ms of `import nestvec`.
def train_cells(
    sample: Float32[np.ndarray, "n dims"], cells: int, rng: "np.random.Generator"
) -> Float32[np.ndarray, "cells dims"]:
    """Lloyd's k-means from a random start; a cell left without rows restarts at a random row."""
    if len(sample) == 0:
        return np.zeros((cells, sample.shape[1]), np.float32)
    centroids = sample[np.sort(rng.choice(len(sample), cells, replace=False))].copy()
    for _ in range(_ITERATIONS):
        owners = assign(sample, centroids)
        sums, counts = sum_by_cell(sample, owners, cells)
        empty = np.flatnonzero(counts == 0)
        centroids = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        centroids[empty] = sample[rng.choice(len(sample), len(empty), replace=False)]
    return centroids


def assign(
    vectors: Float32[np.ndarray, "n dims"], centroids: Float32[np.ndarray, "cells dims"]
) -> Int64[np.ndarray, " n"]:
    """The nearest centroid of each row (Euclidean); equal distances go to the smaller cell."""
    owners = np.empty(len(vectors), np.int64)
    for part, scores in _nearness(vectors, centroids):
        owners[part] = scores.argmax(axis=1)
    return owners


def _nearness(
    vectors: Float32[np.ndarray, "n dims"], centroids: Float32[np.ndarray, "cells dims"]
) -> Iterator[tuple[slice, Float32[np.ndarray, "m cells"]]]:
    """⟨x, c⟩ − |c|²/2, which falls with the distance |x − c|, for some rows after the other."""
    half_squares = np.einsum("cd,cd->c", centroids, centroids) / 2
    # As one dimension more: the product then needs no second pass.
    columns = np.ascontiguousarray(np.hstack([centroids, -half_squares[:, None]]).T)
    step = max(1, _ASSIGN_BYTES // (4 * len(centroids)))
    for first in range(0, len(vectors), step):
        part = slice(first, min(first + step, len(vectors)))
        yield part, np.pad(vectors[part], ((0, 0), (0, 1)), constant_values=1) @ columns


def sum_by_cell(
    vectors: Float32[np.ndarray, "n dims"], owners: Int64[np.ndarray, " n"], cells: int
) -> tuple[Float64[np.ndarray, "cells dims"], Int64[np.ndarray, " cells"]]:
    """Per cell the sum of its rows, in float64, and their number."""
    order = np.argsort(owners, kind="stable")
    counts = np.bincount(owners, minlength=cells)
    sums = np.zeros((cells, vectors.shape[1]))
    cells_with_rows = np.flatnonzero(counts)
    starts = (np.cumsum(counts) - counts)[cells_with_rows]
    # Some columns at a time: in order, and as float64, all would be three times the sample.
    for first in range(0, vectors.shape[1] if len(cells_with_rows) else 0, _COLUMNS):
        columns = slice(first, first + _COLUMNS)
        some = vectors[order, columns]
        sums[cells_with_rows, columns] = np.add.reduceat(some, starts, axis=0, dtype=np.float64)
    return sums, counts


class Centroids(NamedTuple):
    """Centroids in whole steps: `steps[c] · whole[c]` is centroid c."""

    whole: Int8[np.ndarray, "cells dims"]
    steps: Float32[np.ndarray, " cells"]

    @classmethod
    def rounded(cls, centroids: Float32[np.ndarray, "cells dims"]) -> "Centroids":
        """To 1/127 of each centroid's largest entry: a fourth of the bytes, exact as defined."""
        steps = (np.abs(centroids).max(axis=1, initial=0) / np.float32(127)).astype(np.float32)
        safe = np.where(steps > 0, steps, np.float32(1))
        return cls(np.rint(centroids / safe[:, None]).astype(np.int8), steps)

    def values(self) -> Float32[np.ndarray, "cells dims"]:
        """The centroids themselves."""
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

    Slots lie in blocks: `kernels.layout` tells how. Homes count the rows cell after cell.
    """

    owners: Int64[np.ndarray, " n"]
    seconds: Int64[np.ndarray, " n"]
    """Second cells; no rows where there are none."""
    homes: Int64[np.ndarray, " n"]
    slots: Int64[np.ndarray, " n"]
    second_slots: Int64[np.ndarray, " n"]
    counts: Int64[np.ndarray, " cells"]
    spills: Int64[np.ndarray, " cells"]
    starts: Int64[np.ndarray, " starts"]
    """First block of each cell's own rows, and the number of such blocks."""
    rests: Int64[np.ndarray, " starts"]
    """First block of what is left of each cell's others, and the number of all blocks."""

    @classmethod
    def of(
        cls,
        owners: Int64[np.ndarray, " n"],
        seconds: Int64[np.ndarray, " n"],
        cells: int,
        lanes: int,
    ) -> "CellAssignment":
        """Blocks of `lanes` slots for rows of the given cells; second cell −1 is none."""
        seconds = seconds[seconds >= 0]
        counts = np.bincount(owners, minlength=cells)
        spills = np.bincount(seconds, minlength=cells)
        slots_of_rows = -(-counts // lanes)
        starts = np.concatenate([[0], np.cumsum(slots_of_rows)])
        remaining = np.maximum(counts + spills - lanes * slots_of_rows, 0)
        rests = starts[-1] + np.concatenate([[0], np.cumsum(-(-remaining // lanes))])
        within, ends = _ranks(owners, counts), _ranks(seconds, spills)
        homes = (np.cumsum(counts) - counts)[owners] + within
        positions = counts[seconds] + ends
        beyond = positions - lanes * slots_of_rows[seconds]
        second_slots = np.where(
            beyond < 0, lanes * starts[seconds] + positions, lanes * rests[seconds] + beyond
        )
        slots = lanes * starts[owners] + within
        return cls(owners, seconds, homes, slots, second_slots, counts, spills, starts, rests)

    def spill_homes(self) -> Int64[np.ndarray, " n"]:
        """Homes of the rows from other cells, cell after cell."""
        return self.homes[np.argsort(self.seconds, kind="stable")]


def _ranks(
    cells: Int64[np.ndarray, " n"], counts: Int64[np.ndarray, " cells"]
) -> Int64[np.ndarray, " n"]:
    """Count the rows before each row that are in the same cell."""
    order = np.argsort(cells, kind="stable")
    ranks = np.empty(len(cells), np.int64)
    ranks[order] = np.arange(len(cells)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks
