"""Compiled scan of the heads of many rows for many queries: the part that waits for memory."""

from typing import NamedTuple

import numpy as np

from nestvec.kernels.block_filter import (
    BlockRows,
    Entries,
    EstimateTerms,
    HeadArrays,
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


class QueryTables(NamedTuple):
    """Look-up tables of the head words, for each query of a tile, and how to read their sums."""

    tables: np.ndarray  # uint8 [tile, words, 2, 2, 4, 16]
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
def scan_heads(
    visits, scores, cells, allowed, word_slots, query_tables, keep, values, keys, n_kept
):
    """Estimate all rows in the visited cells by their heads, for the queries that probe them.

    `scores` [tile, cells] are of the cells. The best `keep` of query q come to the front of
    `values[q]` and `keys[q]`, `n_kept[q]` in number. Candidates gather behind the best; when a
    buffer is full, its best `keep` stay and the worst of these becomes the floor that others have
    to reach: nothing that could belong to the best is lost. The memory of the next cell is asked
    for while this one is read.
    """
    starts, overflow_starts = cells.starts, cells.overflow_starts
    counts, spill_counts = cells.counts, cells.spill_counts
    row_offsets, spill_row_offsets = cells.row_offsets, cells.spill_row_offsets
    head, scale, record_ints = cells.head, cells.scale, cells.record_ints
    spill_record_ids, words = cells.spill_record_ids, len(word_slots)
    size, width, table_bytes = head.shape[1] * LANES, values.shape[1], 256 * words
    visited, query_starts, queries = visits.cells, visits.starts, visits.queries
    shifts, steps = query_tables.shifts, query_tables.steps
    arrays = HeadArrays(
        head, scale, cells.bias, spill_record_ids, query_tables.tables.reshape(-1), word_slots
    )
    entries = Entries(values.reshape(-1), keys.reshape(-1))
    floors = np.full(len(n_kept), -np.inf, np.float32)
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
        prefetch(spill_record_ids, spill_row_offsets[upcoming])
        for member in range(query_starts[visit], query_starts[visit + 1]):
            q = queries[member]
            count, floor, base = n_kept[q], floors[q], scores[q, cell]
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
                rows = BlockRows(
                    i + (starts[cell] if i < n_primary else overflow),
                    row_offsets[cell] + LANES * i,
                    lanes,
                    lanes + spill_counts[cell],
                    spill_row_offsets[cell] - lanes,
                )
                terms = EstimateTerms(base, shifts[q], steps[q], floor)
                start = q * width + count
                end = filter_block(arrays, rows, q * table_bytes, terms, entries, start)
                if len(allowed):
                    end = keep_allowed(record_ints, allowed, entries, start, end)
                count = end - q * width
                if count > width - LANES:
                    count, floor = select_float32(
                        entries.values, entries.keys, q * width, count, keep
                    )
            n_kept[q], floors[q] = count, floor
    for q in range(len(n_kept)):
        n_kept[q], _ = select_float32(entries.values, entries.keys, q * width, n_kept[q], keep)
