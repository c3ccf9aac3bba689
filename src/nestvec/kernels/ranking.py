"""Compiled selection and sorting of values with keys: larger values first, then smaller keys."""

import numpy as np

from nestvec.kernels.block_filter import count_at_least, float_of_rank, keep_at_least
from nestvec.kernels.jit import kernel
from nestvec.kernels.layout import LANES

_LOWEST, _HIGHEST = -2139095041, 2139095041
"""Ranks of −∞, and of one beyond +∞, in the order of all float32 (`float_of_rank`)."""
_SAMPLED_CELLS = 128
"""Cells, or up to twice as many, whose ranks suggest a threshold: few, as they are sorted out."""


@kernel
def ranks_before(value, key, other_value, other_key):
    """Compare two entries: true if the first has the larger value or, at a tie, smaller key."""
    return value > other_value or (value == other_value and key < other_key)


@kernel
def _swap(values, keys, i, j):
    values[i], values[j] = values[j], values[i]
    keys[i], keys[j] = keys[j], keys[i]


@kernel
def select(values, keys, count, keep):
    """Move the best `keep` of the first `count` entries to the front, in no order (quickselect)."""
    low, high = 0, count - 1
    while low < high and keep > 0 and keep < count:
        middle = (low + high) // 2
        # Median of three, against runs that are already sorted.
        if ranks_before(values[middle], keys[middle], values[low], keys[low]):
            _swap(values, keys, low, middle)
        if ranks_before(values[high], keys[high], values[low], keys[low]):
            _swap(values, keys, low, high)
        if ranks_before(values[high], keys[high], values[middle], keys[middle]):
            _swap(values, keys, middle, high)
        pivot, pivot_key = values[middle], keys[middle]
        i, j = low, high
        while i <= j:
            while ranks_before(values[i], keys[i], pivot, pivot_key):
                i += 1
            while ranks_before(pivot, pivot_key, values[j], keys[j]):
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
def select_float32(values, keys, start, count, keep):
    """Move the best `keep` of `count` float32 entries from flat `start` on to their front.

    Bisection instead of `select`: halving the range of all float32 until `keep` of them reach its
    middle counts some twenty times how many do, and no branch depends on a value. The arrays have
    space up to a multiple of `LANES` behind `start`. Returns the number of entries that remain, and
    a value that they all reach and no better one does not (−∞ if all entries remain).
    """
    if count <= keep:
        return count, np.float32(-np.inf)
    blocks = -(-count // LANES)
    for i in range(start + count, start + LANES * blocks):
        values[i] = np.nan  # reaches no threshold
    low, high = _LOWEST, _HIGHEST
    while high - low > 1:
        middle = (low + high) // 2
        reached = count_at_least(values, start, blocks, float_of_rank(middle))
        if reached >= keep:
            low = middle
        else:
            high = middle
        if reached == keep:
            break
    floor = float_of_rank(low)
    n_candidates = keep_at_least(values, keys, start, blocks, floor)
    if n_candidates > keep:  # equal values: the smaller keys
        stop = start + n_candidates
        select(values[start:stop], keys[start:stop], n_candidates, keep)
    return keep, floor


@kernel
def sort(values, keys, count):
    """Sort the first `count` entries in place, best first.

    Shell sort with Ciura's gaps: there are some hundred entries at most.
    """
    for gap in (1750, 701, 301, 132, 57, 23, 10, 4, 1):
        for i in range(gap, count):
            value, key = values[i], keys[i]
            j = i
            while j >= gap and ranks_before(value, key, values[j - gap], keys[j - gap]):
                values[j], keys[j] = values[j - gap], keys[j - gap]
                j -= gap
            values[j], keys[j] = value, key


@kernel
def deduplicate(values, keys, count, table):
    """Move the best entry of each key to the front, and return the number of keys.

    `table` is a hash table (int64, all -1, at least twice `count` and a power of two long); it is
    all -1 again at the end.
    """
    mask = len(table) - 1
    n_keys = 0
    for i in range(count):
        slot = (keys[i] * 0x9E3779B1) >> 7 & mask
        while table[slot] >= 0 and keys[table[slot]] != keys[i]:
            slot = (slot + 1) & mask
        if table[slot] < 0:
            table[slot] = n_keys
            values[n_keys], keys[n_keys] = values[i], keys[i]
            n_keys += 1
        elif values[i] > values[table[slot]]:
            values[table[slot]] = values[i]
    if 4 * n_keys > len(table):
        table[:] = -1
        return n_keys
    for i in range(n_keys):
        slot = (keys[i] * 0x9E3779B1) >> 7 & mask
        # Collisions lie behind their first slot: empty the whole run.
        while table[slot] >= 0:
            table[slot] = -1
            slot = (slot + 1) & mask
    return n_keys


@kernel
def probe_cells(ranks, counts, probe, k, values, keys):
    """Put the cells of `reference.probe_cells` to the front of `keys`, in no order.

    Returns their number. The float32 `values` and int32 `keys` are scratch memory for all cells, up
    to a multiple of `LANES`.
    """
    cells = len(ranks)
    while True:
        probe = min(probe, cells)
        n_candidates = _best_cells(ranks, probe, values, keys)
        select_float32(values, keys, 0, n_candidates, probe)
        rows = 0
        for i in range(probe):
            rows += counts[keys[i]]
        if rows >= k or probe == cells:
            break
        probe *= 2
    return probe


@kernel
def _best_cells(ranks, probe, values, keys):
    """Move the `probe` best cells, and few others, to the front, and return their number.

    The ranks of every n-th cell suggest a threshold. All cells remain if too few reach it.
    """
    cells = len(ranks)
    blocks = -(-cells // LANES)
    stride = cells // _SAMPLED_CELLS
    if stride >= 2:
        n_sampled = 0
        for c in range(0, cells, stride):
            values[n_sampled] = ranks[c]
            n_sampled += 1
        # Half as many again as the share that is probed, and two, so that too few are rare.
        n_above = min(n_sampled - 1, 2 + n_sampled * probe * 3 // (2 * cells))
        _, floor = select_float32(values, keys, 0, n_sampled, n_above + 1)
        _number_cells(ranks, values, keys)
        n_candidates = keep_at_least(values, keys, 0, blocks, floor)
        if n_candidates >= probe:
            return n_candidates
    _number_cells(ranks, values, keys)
    return cells


@kernel
def _number_cells(ranks, values, keys):
    """Write all cells and their ranks, then NaN, which reaches no threshold."""
    cells = len(ranks)
    for c in range(cells):
        values[c], keys[c] = ranks[c], c
    for c in range(cells, cells + -cells % LANES):
        values[c] = np.nan
