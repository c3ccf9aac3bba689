"""Compiled scan of the heads of many rows for many queries: the part that waits for memory."""

from typing import NamedTuple

import numpy as np

from nestvec.kernels.block_filter import (
    BlockRows,
    Entries,
    EstimateTerms,
    filter_block,
)
from nestvec.kernels.jit import kernel
from nestvec.kernels.layout import LANES, ROW
from nestvec.kernels.ranking import select_float32
from nestvec.kernels.simd import prefetch


class Visits(NamedTuple):
    """Cells to read, and the queries that probe each of them.

    Cell `cells[i]` is read for the queries `queries[starts[i]:starts[i + 1]]`.
    """

    cells: np.ndarray  # int32 [visits]
    starts: np.ndarray  # int64 [visits + 1]
    queries: np.ndarray  # int32


class TableTerms(NamedTuple):
    """Terms that turn sums of table entries into estimates, for each query of a tile."""

    shifts: np.ndarray  # float32 [tile]
    steps: np.ndarray  # float32 [tile]


@kernel
def is_allowed(allowed, row):
    """Look up whether the row that a record names is allowed."""
    if not 0 <= row < len(allowed):
        raise IndexError("a record names a row that there is not")
    return allowed[row] == 1


@kernel
def keep_allowed(record_ints, allowed, entries, start, stop):
    """Keep the allowed of the entries from `start` to `stop`, and return their end."""
    row, end = record_ints.shape[1] + ROW, start
    values, keys = entries.values, entries.keys
    for i in range(start, stop):
        values[end], keys[end] = values[i], keys[i]
        end += is_allowed(allowed, record_ints[keys[i], row])
    return end


@kernel
def scan_heads(visits, scores, cells, allowed, arrays, terms, keep, values, keys, sizes):
    """Estimate all rows in the visited cells by their heads, for the queries that probe them.

    `scores` [tile, cells] are of the cells. The best `keep` of query q come to the front of
    `values[q]` and `keys[q]`, `sizes[q]` in number. Candidates gather behind the best; when
    a buffer is full, its best `keep` stay and the worst of these becomes the floor for others, so
    that none of the best is lost. The next cell is prefetched while this one is read.
    """
    starts, overflow_starts = cells.starts, cells.overflow_starts
    counts, spill_counts = cells.counts, cells.spill_counts
    row_offsets, spill_row_offsets = cells.row_offsets, cells.spill_row_offsets
    head, scale, word_slots = arrays.head, arrays.scale, arrays.word_slots
    record_ints, words = cells.record_ints, len(word_slots)
    size, width, table_bytes = head.shape[1] * LANES, values.shape[1], 256 * words
    visited, query_starts, queries = visits.cells, visits.starts, visits.queries
    flat_values, flat_keys = values.reshape(-1), keys.reshape(-1)
    entries = Entries(flat_values, flat_keys)
    floors = np.full(len(sizes), -np.inf, np.float32)
    for visit in range(len(visited)):
        cell = visited[visit]
        n_primary = starts[cell + 1] - starts[cell]
        blocks = n_primary + overflow_starts[cell + 1] - overflow_starts[cell]
        overflow = overflow_starts[cell] - n_primary
        upcoming = visited[min(visit + 1, len(visited) - 1)]
        next_primary = starts[upcoming + 1] - starts[upcoming]
        next_overflow = overflow_starts[upcoming]
        next_blocks = next_primary + overflow_starts[upcoming + 1] - next_overflow
        next_overflow -= next_primary
        prefetch(arrays.spill_record_ids, spill_row_offsets[upcoming])
        for member in range(query_starts[visit], query_starts[visit + 1]):
            q = queries[member]
            count, floor, base = sizes[q], floors[q], scores[q, cell]
            ahead = next_blocks if member == query_starts[visit] else 0
            for i in range(max(blocks, ahead)):
                if i < ahead:
                    block = i + (starts[upcoming] if i < next_primary else next_overflow)
                    prefetch(scale, block * LANES)
                    for w in range(words):
                        prefetch(head, block * size + 128 * word_slots[w])
                        prefetch(head, block * size + 128 * word_slots[w] + 64)
                if i >= blocks:
                    continue
                lanes = counts[cell] - LANES * i
                block = i + (starts[cell] if i < n_primary else overflow)
                spills = lanes + spill_counts[cell], spill_row_offsets[cell] - lanes
                rows = BlockRows(block, row_offsets[cell] + LANES * i, lanes, *spills)
                estimate = EstimateTerms(base, terms.shifts[q], terms.steps[q], floor)
                start = q * width + count
                end = filter_block(arrays, rows, q * table_bytes, estimate, entries, start)
                if len(allowed):
                    end = keep_allowed(record_ints, allowed, entries, start, end)
                count = end - q * width
                if count > width - LANES:
                    count, floor = select_float32(flat_values, flat_keys, q * width, count, keep)
            sizes[q], floors[q] = count, floor
    for q in range(len(sizes)):
        sizes[q], _ = select_float32(flat_values, flat_keys, q * width, sizes[q], keep)
