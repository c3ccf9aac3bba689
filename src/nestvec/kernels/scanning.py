"""Reading the heads of many rows for many queries: the part of a search that waits for memory."""

import numpy as np

from nestvec.kernels.jit import kernel
from nestvec.kernels.layout import LANES, ROW
from nestvec.kernels.ranking import keep_best
from nestvec.kernels.sieve import pass_block
from nestvec.kernels.simd import prefetch


@kernel
def may(allowed, row):
    """Whether the row that a record names is allowed."""
    if not 0 <= row < len(allowed):
        raise IndexError("a record names a row that there is not")
    return allowed[row] == 1


@kernel
def _allow(record_ints, allowed, values, keys, first, last):
    """Keeps the allowed of the entries from `first` to `last`; returns where they end."""
    row, kept = record_ints.shape[1] + ROW, first
    for i in range(first, last):
        values[kept], keys[kept] = values[i], keys[i]
        kept += may(allowed, record_ints[keys[i], row])
    return kept


@kernel
def scan(
    visits, group_starts, group, scores, cells, allowed, tables, slots, shifts, steps, keep,
    values, keys, filled,
):  # fmt: skip
    """The heads of all rows in the visited cells, for each query in the cell's group.

    The best `keep` of query q come to the front of `values[q]` and `keys[q]`, `filled[q]` in
    number. Candidates gather behind the best; when a buffer is full, its best `keep` stay and the
    worst of these becomes the floor that others have to reach: nothing that could belong to the
    best is lost. Memory is asked for the next cell while this one is read.
    """
    starts, rests, counts, spills = cells.starts, cells.rests, cells.counts, cells.spills
    firsts, spill_firsts, spill_homes = cells.firsts, cells.spill_firsts, cells.spill_homes
    head, scale, bias, record_ints = cells.head, cells.scale, cells.bias, cells.record_ints
    size, words, width = head.shape[1] * LANES, len(slots), values.shape[1]
    entries, entry_bytes = values.reshape(-1), 256 * words
    names, table_bytes = keys.reshape(-1), tables.reshape(-1)
    floors = np.full(len(filled), -np.inf, np.float32)
    for visit in range(len(visits)):
        cell = visits[visit]
        own = starts[cell + 1] - starts[cell]
        blocks, rest = own + rests[cell + 1] - rests[cell], rests[cell] - own
        after = visits[min(visit + 1, len(visits) - 1)]
        next_own, next_rest = starts[after + 1] - starts[after], rests[after]
        next_blocks = next_own + rests[after + 1] - next_rest
        next_rest -= next_own
        prefetch(spill_homes, spill_firsts[after])
        for member in range(group_starts[visit], group_starts[visit + 1]):
            q = group[member]
            count, floor, base = filled[q], floors[q], scores[q, cell]
            ahead = next_blocks if member == group_starts[visit] else 0
            for i in range(max(blocks, ahead)):
                if i < ahead:
                    block = i + (starts[after] if i < next_own else next_rest)
                    prefetch(scale, block * LANES)
                    for w in range(words):
                        prefetch(head, block * size + 128 * slots[w])
                        prefetch(head, block * size + 128 * slots[w] + 64)
                if i >= blocks:
                    continue
                block = i + (starts[cell] if i < own else rest)
                at_home = counts[cell] - LANES * i
                before = q * width + count
                behind = pass_block(
                    head, block * size, table_bytes, q * entry_bytes, slots, words, scale, bias,
                    block * LANES, base, shifts[q], steps[q], floor, spill_homes,
                    firsts[cell] + LANES * i, at_home, at_home + spills[cell],
                    spill_firsts[cell] - at_home, entries, names, before,
                )  # fmt: skip
                if len(allowed):
                    behind = _allow(record_ints, allowed, entries, names, before, behind)
                count = behind - q * width
                if count > width - LANES:
                    count, floor = keep_best(entries, names, q * width, count, keep)
            filled[q], floors[q] = count, floor
    for q in range(len(filled)):
        filled[q], _ = keep_best(entries, names, q * width, filled[q], keep)
