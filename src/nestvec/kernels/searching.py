"""The funnel, compiled: `reference.search_one` for many queries."""

import numpy as np

from nestvec.kernels.dense import (
    product_sums,
    score_block,
    square_sums,
    weighted_rows,
    weighted_wide_rows,
)
from nestvec.kernels.jit import kernel
from nestvec.kernels.layout import (
    BIAS,
    COSINE,
    EUCLIDEAN,
    GROUP,
    LANES,
    NARROW,
    OWNER,
    ROW,
    SCALE,
    SPREAD_WEIGHT,
    WIDE,
)
from nestvec.kernels.ranking import distinct, keep_best, probe_cells, select, sort
from nestvec.kernels.scanning import may, scan
from nestvec.kernels.simd import prefetch, selected_sum
from nestvec.kernels.tables import four_sums, store_entries

_AHEAD, _FULL_AHEAD = 8, 3
"""How many rows ahead memory is asked for records, and for vectors."""
TILE, _TILE_CELLS = 256, 2**21
"""Most queries that are searched together, and most scores of cells that they have."""


@kernel
def rotate(query, rotation, rotated):
    """`reference.rotate` into `rotated`, which may be narrower than the rotation."""
    wide = len(rotated) // 256 * 256
    whole = len(rotated) // GROUP * GROUP
    for first in range(0, wide, 256):
        weighted_wide_rows(query, rotation, rotation.shape[1], rotated, first, len(query))
    for first in range(wide, whole, GROUP):
        weighted_rows(query, rotation, rotation.shape[1], rotated, first, len(query))
    rotated[whole:] = 0
    for i in range(len(query)):
        for j in range(whole, len(rotated)):
            rotated[j] += query[i] * rotation[i, j]


@kernel
def score_cells(rotated, sigma, centroids, steps, priors, spreads, whole, scores, ranks):
    """`reference.score_cells` into `scores` and `ranks`, which are as long as `steps`.

    `whole` is int8 room for the query.
    """
    blocks, fours = centroids.shape[:2]
    width = min(4 * fours, len(rotated))
    largest = np.float32(0)
    for i in range(width):
        largest = max(largest, abs(rotated[i]))
    step = largest / np.float32(127)
    total = np.int32(0)
    whole[:] = 0
    for i in range(width):
        steps_of = np.rint(rotated[i] / step) if step > 0 else np.float32(0)
        whole[i] = np.int8(min(max(steps_of, np.float32(-127)), np.float32(127)))
        total += whole[i]
    spread = 0.0
    for i in range(len(rotated)):
        scaled = np.float64(rotated[i]) * np.float64(sigma[i])
        spread += scaled * scaled
    weight = np.float32(SPREAD_WEIGHT * np.sqrt(spread))
    for block in range(blocks):
        score_block(
            centroids, whole, fours, block, 128 * np.int64(total), step, weight, steps, priors,
            spreads, scores, ranks,
        )  # fmt: skip


@kernel
def word_values(rotated, sigma, dims, groups, coefficients, values):
    """`reference.word_values` into `values` [words, 64]; returns `reference.shift_of` them."""
    total, last = 0.0, min(dims, len(rotated))
    for w in range(len(groups)):
        first = GROUP * groups[w]
        for i in range(GROUP):
            if first + i < last:
                values[w, i] = coefficients[w] * (sigma[first + i] * rotated[first + i])
            else:
                values[w, i] = np.float32(0)
            total += np.float64(values[w, i])
    return -0.5 * total


@kernel
def fill_tables(values, largest, sums, out):
    """`reference.tables` into uint8 `out` [planes, words, half, nibble, byte, entry].

    `sums` is float64 room [words · 16, 16]. Returns the step and the sum of all least sums.
    """
    words = len(values)
    low, step = 0.0, 0.0
    for four in range(16 * words):
        least, most = four_sums(values, four, sums)
        low += least
        step = max(step, most - least)
    step /= largest
    if not step > 0:
        out[:] = 0
        return step, 0.0
    for four in range(16 * words):
        half, byte, nibble = four // 8, four // 2 % 4, four % 2
        place = 128 * half + 64 * nibble + 16 * byte
        upper = 256 * words + place if largest == WIDE else 0
        store_entries(sums, four, step, largest, out, place, upper)
    return step, low


@kernel
def dot(left, right, lanes):
    """`reference.dot`; `lanes` is room for 8 float64 sums."""
    whole = len(left) // 8 * 8
    product_sums(left, right, whole // 8, lanes)
    for i in range(whole, len(left)):
        lanes[i - whole] += np.float64(left[i]) * np.float64(right[i])
    total = 0.0
    for lane in range(8):
        total += lanes[lane]
    return total


@kernel
def squared_distance(left, right, lanes):
    """`reference.squared_distance`; `lanes` is room for 8 float64 sums."""
    whole = len(left) // 8 * 8
    square_sums(left, right, whole // 8, lanes)
    for i in range(whole, len(left)):
        difference = np.float64(left[i]) - np.float64(right[i])
        lanes[i - whole] += difference * difference
    total = 0.0
    for lane in range(8):
        total += lanes[lane]
    return total


@kernel
def full_score(query, length, row, metric, lanes):
    """`reference.full_score`; `length` is √dot(query, query)."""
    if metric == EUCLIDEAN:
        return -squared_distance(query, row, lanes)
    product = dot(query, row, lanes)
    if metric == COSINE:
        lengths = length * np.sqrt(dot(row, row, lanes))
        return product / lengths if lengths > 0 else 0.0
    return product


@kernel
def _ask_full(vectors, row):
    for d in range(0, vectors.shape[1], 16):
        prefetch(vectors, row * vectors.shape[1] + d)


@kernel
def score_rows(query, vectors, metric, filled, keys, values):
    """The full scores of the first `filled` row numbers in `keys`, into `values`."""
    lanes = np.empty(8, np.float64)
    length = np.sqrt(dot(query, query, lanes))
    for i in range(min(_FULL_AHEAD, filled)):
        _ask_full(vectors, keys[i])
    for i in range(filled):
        if i + _FULL_AHEAD < filled:
            _ask_full(vectors, keys[i + _FULL_AHEAD])
        values[i] = full_score(query, length, vectors[keys[i]], metric, lanes)


@kernel
def _gather(probed, firsts, record_ints, allowed, keys):
    """The homes of all rows at home in the probed cells."""
    filled, row = 0, record_ints.shape[1] + ROW
    for cell in probed:
        for home in range(firsts[cell], firsts[cell + 1]):
            keys[filled] = home
            filled += len(allowed) == 0 or may(allowed, record_ints[home, row])
    return filled


@kernel
def _rows_in(probed, counts):
    total = 0
    for cell in probed:
        total += counts[cell]
    return total


@kernel
def _ask_record(records, home):
    width = records.shape[1]
    for w in range(0, width, 8):
        prefetch(records, home * width + w)
    prefetch(records, home * width + width - 1)


@kernel
def estimate_homes(
    filled, scores, records, record_floats, record_ints, slots, table, shift, values, keys
):
    """Estimates from the given words for the first `filled` homes in `keys`."""
    width, last = records.shape[1], record_ints.shape[1]
    for i in range(min(_AHEAD, filled)):
        _ask_record(records, keys[i])
    for i in range(filled):
        if i + _AHEAD < filled:
            _ask_record(records, keys[i + _AHEAD])
        home = np.int64(keys[i])
        inner = shift + selected_sum(records, home * width, slots, table, len(slots))
        owner = record_ints[home, last + OWNER]
        if not 0 <= owner < len(scores):
            raise IndexError("a record names a cell that there is not")
        estimate = scores[owner] + record_floats[home, last + SCALE] * inner
        values[i] = estimate + record_floats[home, last + BIAS]


@kernel
def _probe(queries, cells, probe, k, rotated, scores, probed, probes):
    """Rotated queries, their scores of all cells, and the cells that each of them probes."""
    count, dim = len(cells.counts), queries.shape[1]
    whole, ranks = np.empty(dim + 3, np.int8), np.empty(len(cells.steps), np.float32)
    values = np.empty(probed.shape[1], np.float32)
    for q in range(len(queries)):
        rotate(queries[q], cells.rotation, rotated[q])
        score_cells(
            rotated[q], cells.sigma, cells.centroids, cells.steps, cells.priors, cells.spreads,
            whole, scores[q], ranks,
        )  # fmt: skip
        probes[q] = probe_cells(ranks[:count], cells.counts, probe, k, values, probed[q])


@kernel
def _visits(probed, probes, count):
    """The cells that any query probes, and for each of them (from where to where) by which.

    One query visits its cells best first; several share out the reading of each cell.
    """
    if len(probes) == 1:
        only = probes[0]
        return probed[0, :only], np.arange(only + 1), np.zeros(only, np.int32)
    ends = np.zeros(count + 1, np.int64)
    for q in range(len(probes)):
        for i in range(probes[q]):
            ends[probed[q, i] + 1] += 1
    visited = 0
    visits, starts = np.empty(count, np.int32), np.empty(count + 1, np.int64)
    for cell in range(count):
        visits[visited], starts[visited] = cell, ends[cell]
        visited += ends[cell + 1] > 0
        ends[cell + 1] += ends[cell]
    starts[visited] = ends[count]
    by = np.empty(ends[count], np.int32)
    for q in range(len(probes)):
        for i in range(probes[q]):
            cell = probed[q, i]
            by[ends[cell]] = q
            ends[cell] += 1
    return visits[:visited], starts[: visited + 1], by


@kernel
def _scan_heads(
    rotated, scores, probed, probes, cells, funnel, allowed, values, keys, filled, counts
):
    """The first stage of all queries of a tile, by heads: the best candidates come to the front."""
    words, keep, count = funnel.starts[1], funnel.keeps[0], len(cells.counts)
    groups, slots = funnel.groups[:words], funnel.head_slots[:words]
    table, room = np.empty((words, GROUP), np.float32), np.empty((16 * words, 16))
    tables = np.empty((len(rotated), words, 2, 2, 4, 16), np.uint8)
    shifts, steps = np.empty(len(rotated), np.float32), np.empty(len(rotated), np.float32)
    spilled = 0
    for q in range(len(rotated)):
        shift = word_values(
            rotated[q], cells.sigma, funnel.dims[0], groups, funnel.coefficients[:words], table
        )
        step, low = fill_tables(table, NARROW, room, tables[q : q + 1])
        shifts[q], steps[q] = shift + low, step
        own = probed[q, : probes[q]]
        others = _rows_in(own, cells.spills)
        counts[q, 1] = _rows_in(own, cells.counts) + others
        spilled += others
    # A row may stand twice: the best of twice as many are enough.
    held = 2 * keep if spilled else keep
    visits, starts, by = _visits(probed, probes, count)
    scan(
        visits, starts, by, scores, cells, allowed, tables, slots, shifts, steps, held, values,
        keys, filled,
    )  # fmt: skip
    hashed = np.full(_hash_room(held if spilled else 0), -1, np.int64)
    for q in range(len(rotated)):
        if spilled:
            filled[q] = distinct(values[q], keys[q], filled[q], hashed)
        filled[q], _ = keep_best(values[q], keys[q], 0, filled[q], keep)


@kernel
def _refine(rotated, scores, cells, funnel, first, values, keys, filled, counts):
    """The stages from `first` on, for one query; returns how many homes are left."""
    table_values = np.empty((max(1, len(funnel.slots)), GROUP), np.float32)
    for stage in range(first, len(funnel.keeps)):
        part = slice(funnel.starts[stage], funnel.starts[stage + 1])
        slots, table = funnel.slots[part], table_values[: funnel.starts[stage + 1] - part.start]
        shift = word_values(
            rotated, cells.sigma, funnel.dims[stage], funnel.groups[part],
            funnel.coefficients[part], table,
        )  # fmt: skip
        if stage:
            counts[1 + stage] = filled
        estimate_homes(
            filled, scores, cells.records, cells.record_floats, cells.record_ints, slots, table,
            np.float32(shift), values, keys,
        )  # fmt: skip
        filled, _ = keep_best(values, keys, 0, filled, funnel.keeps[stage])
    return filled


@kernel
def _rows_of(homes, record_ints, n, rows):
    """The rows that the records at `homes` name."""
    place = record_ints.shape[1] + ROW
    for i in range(len(homes)):
        rows[i] = record_ints[homes[i], place]
        if not 0 <= rows[i] < n:
            raise IndexError("a record names a row that there is not")


@kernel
def _search_tile(queries, cells, funnel, vectors, allowed, metric, probe, full, k, room, found):
    """`search_batch` for queries that share the reading of cells."""
    size, stages, n = len(queries), len(funnel.keeps), len(cells.records)
    rows, scores, counts = found
    rotated, cell_scores, probed, probes, values, keys, filled, best, names = room
    tabled = _tabled(funnel)
    _probe(queries, cells, probe, k, rotated, cell_scores, probed, probes)
    for q in range(size):
        counts[q, 0], filled[q] = probes[q], 0
    if tabled:
        _scan_heads(
            rotated[:size], cell_scores, probed, probes[:size], cells, funnel, allowed, values,
            keys, filled, counts,
        )  # fmt: skip
    for q in range(size):
        left = filled[q]
        if not tabled:
            own = probed[q, : probes[q]]
            left = _gather(own, cells.firsts, cells.record_ints, allowed, keys[q])
            if stages:
                counts[q, 1] = _rows_in(own, cells.counts)
        left = _refine(
            rotated[q], cell_scores[q], cells, funnel, 1 if tabled else 0, values[q], keys[q],
            left, counts[q],
        )  # fmt: skip
        _rows_of(keys[q, :left], cells.record_ints, n, names)
        if full:
            counts[q, 1 + stages] = left
            score_rows(queries[q], vectors, metric, left, names, best)
        else:
            for i in range(left):
                best[i] = values[q, i] if stages else 0.0
        answer(left, k, best, names, rows[q], scores[q])


@kernel
def _tabled(funnel):
    """Whether the first stage reads head words only, and so by tables."""
    beyond = 0
    for word in range(funnel.starts[1] if len(funnel.keeps) else 0):
        beyond += funnel.head_slots[word] < 0
    return len(funnel.keeps) > 0 and beyond == 0


@kernel
def search_batch(
    queries, cells, funnel, vectors, allowed, metric, probe, full, k, rows, scores, counts
):
    """`reference.search_one` for each query, into `rows` and `scores` [q, k] and `counts`."""
    n, padded = len(cells.records), len(cells.steps)
    # Room for as many again as are kept, so that the threshold is renewed by whole buffers.
    width, tile = 4 * funnel.keeps[0] + 16 * LANES if _tabled(funnel) else max(k, n), 1
    if _tabled(funnel):
        tile = max(1, min(len(queries), TILE, _TILE_CELLS // max(1, padded)))
    width += -width % LANES + LANES
    room = (
        np.empty((tile, len(cells.sigma)), np.float32), np.empty((tile, padded), np.float32),
        np.empty((tile, padded), np.int32), np.empty(tile, np.int64),
        np.empty((tile, width), np.float32), np.empty((tile, width), np.int32),
        np.empty(tile, np.int64), np.empty(width), np.empty(width, np.int64),
    )  # fmt: skip
    counts[:] = 0
    for first in range(0, len(queries), tile):
        part = slice(first, min(first + tile, len(queries)))
        found = rows[part], scores[part], counts[part]
        _search_tile(
            queries[part], cells, funnel, vectors, allowed, metric, probe, full, k, room, found
        )


@kernel
def _hash_room(count):
    room = 64
    while room < 2 * count:
        room *= 2
    return room


@kernel
def answer(filled, k, values, keys, rows, scores):
    """The best `k` of the first `filled` rows, best first, filled up with row −1, score −inf."""
    select(values, keys, filled, k)
    found = min(filled, k)
    sort(values, keys, found)
    for i in range(k):
        rows[i], scores[i] = -1, -np.inf
    for i in range(found):
        rows[i], scores[i] = keys[i], values[i]
