"""Memory and file layout of the coded rows of a segment.

Dimensions are cut in groups of 64, so that one bit plane of one group is one 64-bit *word*
(bit i of a word is dimension `64·group + i`). Each row has a *record*. Records are in the order of
cells and, within a cell, of rows; the number of a record is its *record id*. A record is read where
a search looks at few rows:

    words, then   scale, bias (float32)   cell, row (int32)   errors (3 float32), 4 unused bytes

The *head* is read where a search looks at many rows. It lies in *slots*, in blocks of `LANES`, cell
after cell: the head words byte by byte, each byte of all 16 rows together, so that one instruction
looks up half a byte of many rows (FastScan, André et al. 2015). A slot without a row has scale NaN,
which no threshold lets through.

    head  [block, head_word · 8 + byte, lane]      records  [record id, word]

A row has one slot in its primary cell, the nearest, and one in its spill cell (SOAR, Sun et al.
2023): the residual to one of them shows a query what the residual to the other hides. The primary
rows of a cell come first, in whole blocks, and spilled rows fill the last of these blocks up. The
primary blocks of all cells make one stream. The spilled rows that do not fit lie in a second stream
behind it, the *overflow*.
"""

from typing import NamedTuple

import numpy as np

from nestvec.shapes import Float32, Int8, Int64, UInt8, UInt64

GROUP = 64
"""Dimensions of a word: the bits of the widest integer that processors and NumPy have."""
LANES = 16
"""Rows of a block: 16 table look-ups of one byte, and 16 float32, each fill one register."""
RECORD_TAIL = 4
"""Words of a record behind its code words; 32 bytes, so that records stay aligned to words."""
SCALE, BIAS, CELL, ROW, ERRORS = -8, -7, -6, -5, -4
"""Places in a record, in numbers of 4 bytes from its end."""
PARTS = 3
"""Error norms per row, one for each part of the dimensions that `part_bounds` cuts."""
NARROW = 127
"""Largest table entry of one byte: seven bits, so that two of them fit into a byte when added."""
WIDE = 127 * 128 + 127
"""Largest table entry of two bytes, of seven bits each."""
SOAR_WEIGHT = 1.5
"""Weight λ of SOAR: values from 1 to 3 put the same share of true neighbours in the same cells."""
SPREAD_WEIGHT = 6.0
"""Standard deviations of its rows' scores that are added to the score of a cell to rank it.

Measured: the cells that hold .99 of the true neighbours hold a quarter fewer rows than at 0.
"""

IP, COSINE, EUCLIDEAN = range(3)
"""Similarity metrics, as kernels number them."""


class Cells(NamedTuple):
    """Coded rows of one segment, cell after cell, in the layout of this module."""

    rotation: np.ndarray  # float32 [dim, dim]
    sigma: np.ndarray  # float32 [width], the spread that codes are measured in
    centroids: np.ndarray  # uint8 [cell blocks, groups of four, LANES, 4], see `centroid_bytes`
    steps: np.ndarray  # float32 [cell blocks · LANES], the value of 1 in `centroids`
    priors: np.ndarray  # float32 [cell blocks · LANES], mean bias of the rows
    spreads: np.ndarray  # float32 [cell blocks · LANES], root mean square residual norm
    starts: np.ndarray  # int64 [cells + 1], first primary block of each cell
    overflow_starts: np.ndarray  # int64 [cells + 1], first overflow block of each cell
    counts: np.ndarray  # int64 [cells], primary rows
    spill_counts: np.ndarray  # int64 [cells], spilled rows
    row_offsets: np.ndarray  # int64 [cells + 1], first record id of each cell
    spill_row_offsets: np.ndarray  # int64 [cells + 1], first place in `spill_record_ids`
    spill_record_ids: np.ndarray  # int32 [n or 0], of the spilled rows, cell after cell
    scale: np.ndarray  # float32 [blocks · LANES], NaN where there is no row
    bias: np.ndarray  # float32 [blocks · LANES], or [0] where all biases are 0
    head: np.ndarray  # uint8 [blocks, head words · 8, LANES]
    head_errors: np.ndarray  # uint16 [starts[cells], PARTS, LANES], bfloat16, rounded up
    records: np.ndarray  # uint64 [n, words + RECORD_TAIL]
    record_floats: np.ndarray  # the same bytes as float32 [n, 2 · (words + RECORD_TAIL)]
    record_ints: np.ndarray  # the same bytes as int32 [n, 2 · (words + RECORD_TAIL)]

    @property
    def record_scale(self) -> np.ndarray:
        """Scales by record id, float32 [n]."""
        return self.record_floats[:, SCALE]

    @property
    def record_bias(self) -> np.ndarray:
        """Biases by record id, float32 [n]."""
        return self.record_floats[:, BIAS]

    @property
    def cell_ids(self) -> np.ndarray:
        """Primary cells by record id, int32 [n]."""
        return self.record_ints[:, CELL]

    @property
    def rows(self) -> np.ndarray:
        """Row numbers by record id, int32 [n]."""
        return self.record_ints[:, ROW]

    @property
    def word_errors(self) -> np.ndarray:
        """Error norms of the full codes by record id, float32 [n, PARTS], rounded up."""
        return self.record_floats[:, ERRORS : ERRORS + PARTS]


class Funnel(NamedTuple):
    """Coded stages of a plan as flat arrays: stage s has the words `starts[s]:starts[s + 1]`."""

    dims: np.ndarray  # int64 [stages]
    keep: np.ndarray  # int64 [stages], candidates that remain after each stage
    starts: np.ndarray  # int64 [stages + 1]
    word_slots: np.ndarray  # int64 [words], place of each word in a record
    head_word_slots: np.ndarray  # int64 [words], place among the head words, -1 for none
    groups: np.ndarray  # int64 [words]
    coefficients: np.ndarray  # float32 [words]


def pack_records(
    words: UInt64[np.ndarray, "n words"],
    scale: Float32[np.ndarray, " n"],
    bias: Float32[np.ndarray, " n"],
    cell_ids: Int64[np.ndarray, " n"],
    rows: Int64[np.ndarray, " n"],
    errors: Float32[np.ndarray, "n parts"],
) -> UInt64[np.ndarray, "n wider"]:
    """Lay the codes of some rows and their numbers out as records."""
    records = np.zeros((len(words), words.shape[1] + RECORD_TAIL), np.uint64)
    records[:, :-RECORD_TAIL] = words
    floats, ints = records.view(np.float32), records.view(np.int32)
    floats[:, SCALE], floats[:, BIAS] = scale, bias
    ints[:, CELL], ints[:, ROW] = cell_ids, rows
    floats[:, ERRORS : ERRORS + PARTS] = errors
    return records


def part_bounds(dim: int) -> Int64[np.ndarray, " bounds"]:
    """Ends of the `PARTS` parts of the dimensions: 0, 1/6, 1/2 and all, in whole groups.

    Six parts bound hardly better than these three, one part much worse: queries have their energy
    in front and codes their errors at the back.
    """
    groups = -(-dim // GROUP)
    inner = [min(dim, GROUP * -(-groups // 6)), min(dim, GROUP * -(-groups // 2))]
    return np.array([0, *inner, dim], np.int64)


def centroid_bytes(
    integer: Int8[np.ndarray, "cells dims"],
) -> UInt8[np.ndarray, "blocks fours lanes 4"]:
    """Lay integer centroids out for kernels: plus 128, in blocks of 16 cells × 4 dimensions."""
    cells, dims = integer.shape
    blocks, quads = -(-cells // LANES), -(-dims // 4)
    padded = np.zeros((blocks * LANES, quads * 4), np.int16)
    padded[:cells, :dims] = integer
    shifted = (padded + 128).astype(np.uint8).reshape(blocks, LANES, quads, 4)
    return np.ascontiguousarray(shifted.transpose(0, 2, 1, 3))


def integer_centroids(cells: Cells) -> Int64[np.ndarray, "cells dims"]:
    """Invert `centroid_bytes`; zero dimensions fill the last group of four."""
    blocks, quads = cells.centroids.shape[:2]
    rows = cells.centroids.transpose(0, 2, 1, 3).reshape(blocks * LANES, quads * 4)
    return rows[: len(cells.counts)].astype(np.int64) - 128


def slots_of(cells: Cells, cell: int) -> Int64[np.ndarray, " n"]:
    """Slots of the rows in a cell, primary rows first, then spilled ones."""
    position = np.arange(cells.counts[cell] + cells.spill_counts[cell])
    n_primary = LANES * (cells.starts[cell + 1] - cells.starts[cell])
    overflow = LANES * cells.overflow_starts[cell] - n_primary
    offsets = np.where(position < n_primary, LANES * cells.starts[cell], overflow)
    return np.asarray(position + offsets, np.int64)


def record_ids_of(cells: Cells, cell: int) -> Int64[np.ndarray, " n"]:
    """Record ids of the rows in a cell, in the order of `slots_of`."""
    primary = np.arange(cells.row_offsets[cell], cells.row_offsets[cell + 1])
    spilled = slice(cells.spill_row_offsets[cell], cells.spill_row_offsets[cell + 1])
    return np.concatenate([primary, cells.spill_record_ids[spilled].astype(np.int64)])
