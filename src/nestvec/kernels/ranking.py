"""Keeping the best: selection, sorting, and sets of places, compiled."""

import numpy as np

from nestvec.kernels.jit import kernel
from nestvec.kernels.layout import LANES
from nestvec.kernels.sieve import count_at_least, float_at, keep_at_least

_LOWEST, _HIGHEST = -2139095041, 2139095041
"""Places of −∞, and of what is beyond +∞, in the order of all float32."""


@kernel
def before(value, key, other_value, other_key):
    """Whether a value ranks higher; equal values go to the smaller key."""
    return value > other_value or (value == other_value and key < other_key)


@kernel
def _swap(values, keys, i, j):
    values[i], values[j] = values[j], values[i]
    keys[i], keys[j] = keys[j], keys[i]


@kernel
def select(values, keys, count, keep):
    """Move the best `keep` of the first `count` to the front, in no order (quickselect)."""
    low, high = 0, count - 1
    while low < high and keep > 0 and keep < count:
        middle = (low + high) // 2
        # Median of three, against runs that are already sorted.
        if before(values[middle], keys[middle], values[low], keys[low]):
            _swap(values, keys, low, middle)
        if before(values[high], keys[high], values[low], keys[low]):
            _swap(values, keys, low, high)
        if before(values[high], keys[high], values[middle], keys[middle]):
            _swap(values, keys, middle, high)
        pivot, pivot_key = values[middle], keys[middle]
        i, j = low, high
        while i <= j:
            while before(values[i], keys[i], pivot, pivot_key):
                i += 1
            while before(pivot, pivot_key, values[j], keys[j]):
                j -= 1
            if i <= j:
                _swap(values, keys, i, j)
                i += 1
                j -= 1
        if keep - 1 <= j:
            high = j
        elif keep - 1 >= i:
            low = i
        else:
            break


@kernel
def keep_best(values, keys, first, count, keep):
    """`select` for float32 values and int32 keys from flat `first` on, by bisection.

    Halving the range of all float32 until `keep` of them reach its middle asks some twenty times
    how many do, which no branch depends on. There is room up to a multiple of `LANES`. Returns how
    many are left, and a value that they all reach and no better one does not (−∞ where all stay).
    """
    if count <= keep:
        return count, np.float32(-np.inf)
    blocks = -(-count // LANES)
    for i in range(first + count, first + LANES * blocks):
        values[i] = np.nan  # reaches nothing
    low, high = _LOWEST, _HIGHEST
    while high - low > 1:
        middle = (low + high) // 2
        reached = count_at_least(values, first, blocks, float_at(middle))
        if reached >= keep:
            low = middle
        else:
            high = middle
        if reached == keep:
            break
    floor = float_at(low)
    kept = keep_at_least(values, keys, first, blocks, floor)
    if kept > keep:  # equal values: the smaller keys
        last = first + kept
        select(values[first:last], keys[first:last], kept, keep)
    return keep, floor


@kernel
def sort(values, keys, count):
    """Best first, in place (Shell sort with Ciura's gaps: some hundred entries at most)."""
    for gap in (1750, 701, 301, 132, 57, 23, 10, 4, 1):
        for i in range(gap, count):
            value, key = values[i], keys[i]
            j = i
            while j >= gap and before(value, key, values[j - gap], keys[j - gap]):
                values[j], keys[j] = values[j - gap], keys[j - gap]
                j -= gap
            values[j], keys[j] = value, key


@kernel
def distinct(values, keys, count, table):
    """Move the best value of each key to the front; returns how many keys there are.

    `table` (int64, all -1, at least twice `count` and a power of two long) is left all -1.
    """
    mask = len(table) - 1
    kept = 0
    for i in range(count):
        slot = (keys[i] * 0x9E3779B1) >> 7 & mask
        while table[slot] >= 0 and keys[table[slot]] != keys[i]:
            slot = (slot + 1) & mask
        if table[slot] < 0:
            table[slot] = kept
            values[kept], keys[kept] = values[i], keys[i]
            kept += 1
        elif values[i] > values[table[slot]]:
            values[table[slot]] = values[i]
    if 4 * kept > len(table):
        table[:] = -1
        return kept
    for i in range(kept):
        slot = (keys[i] * 0x9E3779B1) >> 7 & mask
        # What was pushed on by a collision lies behind: empty the whole run.
        while table[slot] >= 0:
            table[slot] = -1
            slot = (slot + 1) & mask
    return kept


@kernel
def probe_cells(ranks, counts, probe, k, values, keys):
    """`reference.probe_cells` into the front of `keys`, in no order; returns how many.

    There is room for a multiple of `LANES` in float32 `values` and int32 `keys`.
    """
    cells = len(ranks)
    while True:
        probe = min(probe, cells)
        filled = _best_cells(ranks, probe, values, keys)
        keep_best(values, keys, 0, filled, probe)
        held = 0
        for i in range(probe):
            held += counts[keys[i]]
        if held >= k or probe == cells:
            break
        probe *= 2
    return probe


@kernel
def _best_cells(ranks, probe, values, keys):
    """At least the `probe` best cells, and few others, to the front; returns how many.

    Those that reach what every n-th cell suggests as a threshold; all cells should that be too few.
    """
    cells = len(ranks)
    blocks = -(-cells // LANES)
    stride = cells // 128
    if stride >= 2:
        sampled = 0
        for c in range(0, cells, stride):
            values[sampled] = ranks[c]
            sampled += 1
        wanted = min(sampled - 1, 2 + sampled * probe * 3 // (2 * cells))
        _, floor = keep_best(values, keys, 0, sampled, wanted + 1)
        _number(ranks, values, keys)
        filled = keep_at_least(values, keys, 0, blocks, floor)
        if filled >= probe:
            return filled
    _number(ranks, values, keys)
    return cells


@kernel
def _number(ranks, values, keys):
    """All cells and their ranks, filled up with NaN, which reaches nothing."""
    cells = len(ranks)
    for c in range(cells):
        values[c], keys[c] = ranks[c], c
    for c in range(cells, cells + -cells % LANES):
        values[c] = np.nan
