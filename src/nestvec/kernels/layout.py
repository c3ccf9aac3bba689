"""How the coded rows of a segment lie in memory, and in its file.

Dimensions are cut in groups of 64, so that one bit plane of one group is one 64-bit *word*
(bit i of a word is dimension `64·group + i`). Each row has a *record*, in the order of cells and,
within a cell, of rows; its number there is the row's *home*. A record is what is read of few rows:

    words, then   scale, bias (float32)   cell, row (int32)   errors (3 float32), 4 bytes of nothing

What is read of many rows lies in *slots*, in blocks of `LANES`, cell after cell: its *head* words,
byte by byte, each byte of all 16 rows together, so that one instruction looks up half a byte of
many rows (FastScan, André et al. 2015). Slots that no row fills have scale NaN, which no threshold
lets through.

    head  [block, head_word · 8 + byte, lane]      records  [home, word]

A row has a slot in its nearest cell and one in a second cell (SOAR, Sun et al. 2023): what one
cell's residual hides from a query the other's shows. The rows at home in a cell come first, in
whole blocks that the first of the others fill up; these blocks of all cells make one stream. What
is left of the others lies in a second stream behind it.
"""

from typing import NamedTuple

import numpy as np

from nestvec.shapes import Float32, Int8, Int64, UInt8, UInt64

GROUP = 64
LANES = 16
RECORD_TAIL = 4
"""Words that a record has behind its code words."""
SCALE, BIAS, OWNER, ROW, ERRORS = -8, -7, -6, -5, -4
"""Where in a record, as 4-byte numbers from its end, lies what."""
PARTS = 3
"""Error norms per row: the dimensions are cut in so many parts."""
NARROW = 127
WIDE = 127 * 128 + 127
"""Largest table entries: one byte's seven bits, or two bytes of seven bits each."""
SOAR_WEIGHT = 1.5
"""λ of SOAR: at 1 to 3 the same rows hold the same share of true neighbours."""
SPREAD_WEIGHT = 6.0
"""A cell is ranked by its score plus so many standard deviations of its rows' scores.

Measured: the cells that hold .99 of the true neighbours hold a quarter fewer rows than at 0.
"""

IP, COSINE, EUCLIDEAN = range(3)
"""Metrics, as kernels know them."""


class Cells(NamedTuple):
    """The coded rows of one segment, cell after cell, in the layout told above."""

    rotation: np.ndarray  # float32 [dim, dim]
    sigma: np.ndarray  # float32 [width], the spread that codes are measured in
    centroids: np.ndarray  # uint8 [cell blocks, fours, LANES, 4], see `centroid_bytes`
    steps: np.ndarray  # float32 [cell blocks · LANES], what 1 in `centroids` stands for
    priors: np.ndarray  # float32 [cell blocks · LANES], mean bias of the rows
    spreads: np.ndarray  # float32 [cell blocks · LANES], root mean square residual length
    starts: np.ndarray  # int64 [cells + 1], in blocks: where rows are at home
    rests: np.ndarray  # int64 [cells + 1], in blocks: where the others that are left lie
    counts: np.ndarray  # int64 [cells], rows at home
    spills: np.ndarray  # int64 [cells], rows from other cells
    firsts: np.ndarray  # int64 [cells + 1], homes before each cell's
    spill_firsts: np.ndarray  # int64 [cells + 1], rows from other cells before each cell's
    spill_homes: np.ndarray  # int32 [n or 0], of the rows from other cells, cell after cell
    scale: np.ndarray  # float32 [blocks · LANES], NaN where there is no row
    bias: np.ndarray  # float32 [blocks · LANES], or [0] where all biases are 0
    head: np.ndarray  # uint8 [blocks, head words · 8, LANES]
    head_errors: np.ndarray  # uint16 [starts[cells], PARTS, LANES], bfloat16, rounded up
    records: np.ndarray  # uint64 [n, words + RECORD_TAIL]
    record_floats: np.ndarray  # the same bytes as float32 [n, 2 · (words + RECORD_TAIL)]
    record_ints: np.ndarray  # the same bytes as int32 [n, 2 · (words + RECORD_TAIL)]

    @property
    def own_scale(self) -> np.ndarray:
        """float32 [n], by home; so are the following."""
        return self.record_floats[:, SCALE]

    @property
    def own_bias(self) -> np.ndarray:
        """float32 [n]"""
        return self.record_floats[:, BIAS]

    @property
    def owners(self) -> np.ndarray:
        """int32 [n], the cell in which a row is at home."""
        return self.record_ints[:, OWNER]

    @property
    def rows(self) -> np.ndarray:
        """int32 [n]"""
        return self.record_ints[:, ROW]

    @property
    def word_errors(self) -> np.ndarray:
        """float32 [n, PARTS], rounded up."""
        return self.record_floats[:, ERRORS : ERRORS + PARTS]


class Funnel(NamedTuple):
    """A plan as flat arrays: stage s owns the words `starts[s]:starts[s + 1]`."""

    dims: np.ndarray  # int64 [stages]
    keeps: np.ndarray  # int64 [stages]
    starts: np.ndarray  # int64 [stages + 1]
    slots: np.ndarray  # int64 [words], place in a record
    head_slots: np.ndarray  # int64 [words], place among the head words, -1 for none
    groups: np.ndarray  # int64 [words]
    coefficients: np.ndarray  # float32 [words]


def pack_records(
    words: UInt64[np.ndarray, "n words"],
    scale: Float32[np.ndarray, " n"],
    bias: Float32[np.ndarray, " n"],
    owners: Int64[np.ndarray, " n"],
    rows: Int64[np.ndarray, " n"],
    errors: Float32[np.ndarray, "n parts"],
) -> UInt64[np.ndarray, "n wider"]:
    """The records of some rows."""
    records = np.zeros((len(words), words.shape[1] + RECORD_TAIL), np.uint64)
    records[:, :-RECORD_TAIL] = words
    floats, ints = records.view(np.float32), records.view(np.int32)
    floats[:, SCALE], floats[:, BIAS] = scale, bias
    ints[:, OWNER], ints[:, ROW] = owners, rows
    floats[:, ERRORS : ERRORS + PARTS] = errors
    return records


def part_bounds(dim: int) -> Int64[np.ndarray, " bounds"]:
    """Where the `PARTS` parts of the dimensions begin and end: at 1/6 and 1/2, in whole groups.

    Six parts bound hardly better than these three, one part much worse: queries have their energy
    in front and codes their errors at the back.
    """
    groups = -(-dim // GROUP)
    inner = [min(dim, GROUP * -(-groups // 6)), min(dim, GROUP * -(-groups // 2))]
    return np.array([0, *inner, dim], np.int64)


def centroid_bytes(
    whole: Int8[np.ndarray, "cells dims"],
) -> UInt8[np.ndarray, "blocks fours lanes 4"]:
    """Centroids in the layout that kernels read: 128 more, 16 cells and 4 dimensions at a time."""
    cells, dims = whole.shape
    blocks, fours = -(-cells // LANES), -(-dims // 4)
    padded = np.zeros((blocks * LANES, fours * 4), np.int16)
    padded[:cells, :dims] = whole
    shifted = (padded + 128).astype(np.uint8).reshape(blocks, LANES, fours, 4)
    return np.ascontiguousarray(shifted.transpose(0, 2, 1, 3))


def centroid_steps(cells: Cells) -> Int64[np.ndarray, "cells dims"]:
    """What `centroid_bytes` was given, zero dimensions added to whole fours."""
    blocks, fours = cells.centroids.shape[:2]
    rows = cells.centroids.transpose(0, 2, 1, 3).reshape(blocks * LANES, fours * 4)
    return rows[: len(cells.counts)].astype(np.int64) - 128


def slots_of(cells: Cells, cell: int) -> Int64[np.ndarray, " n"]:
    """The slots of the rows in a cell, those at home first."""
    at = np.arange(cells.counts[cell] + cells.spills[cell])
    first = LANES * (cells.starts[cell + 1] - cells.starts[cell])
    rest = LANES * cells.rests[cell] - first
    return np.asarray(at + np.where(at < first, LANES * cells.starts[cell], rest), np.int64)


def homes_of(cells: Cells, cell: int) -> Int64[np.ndarray, " n"]:
    """The homes of the rows in a cell, in the order of `slots_of`."""
    own = np.arange(cells.firsts[cell], cells.firsts[cell + 1])
    others = cells.spill_homes[cells.spill_firsts[cell] : cells.spill_firsts[cell + 1]]
    return np.concatenate([own, others.astype(np.int64)])
