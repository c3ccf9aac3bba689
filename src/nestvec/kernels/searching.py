"""The funnel, compiled: `reference.search_one` for many queries."""

import numpy as np

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
from nestvec.kernels.ranking import distinct, probe_cells, select, sort
from nestvec.kernels.simd import (
    at_least,
    byte_products,
    estimate_lanes,
    lane_distances,
    lane_products,
    lowest_bit,
    prefetch,
    selected_sum,
    table_sums,
)

_AHEAD = 8
"""How many rows ahead memory is asked for what they need."""


@kernel
def rotate(query, rotation, rotated):
    """`reference.rotate` into `rotated`, which may be narrower than the rotation."""
    dim, width = len(query), len(rotated)
    rotated[:] = 0
    whole = dim // 4 * 4
    for i in range(0, whole, 4):
        # Four rows at a time, in the same order of additions: a fourth of the reads and writes.
        a, b, c, d = query[i], query[i + 1], query[i + 2], query[i + 3]
        for j in range(width):
            total = rotated[j] + a * rotation[i, j]
            total = total + b * rotation[i + 1, j]
            total = total + c * rotation[i + 2, j]
            rotated[j] = total + d * rotation[i + 3, j]
    for i in range(whole, dim):
        for j in range(width):
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
    products = np.empty(LANES, np.int32)
    size = 64 * fours
    for block in range(blocks):
        byte_products(centroids, block * size, whole, products, fours)
        first = LANES * block
        for lane in range(LANES):
            product = np.float32(products[lane] - 128 * total)
            score = steps[first + lane] * (step * product)
            scores[first + lane] = score
            ranks[first + lane] = (score + priors[first + lane]) + weight * spreads[first + lane]


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
    for f in range(16 * words):
        least, most = 0.0, 0.0
        sums[f, 0] = 0.0
        for i in range(4):
            value = np.float64(values[f // 16, 4 * (f % 16) + i])
            for m in range(1 << i):
                sums[f, (1 << i) + m] = sums[f, m] + value
            least += min(value, 0.0)
            most += max(value, 0.0)
        low += least
        step = max(step, most - least)
        for m in range(16):
            sums[f, m] -= least
    step /= largest
    for f in range(16 * words):
        w, byte, nibble = f // 16, f % 16 // 2, f % 2
        for m in range(16):
            entry = 0
            if step > 0:
                entry = min(np.int64(np.rint(sums[f, m] / step)), largest)
            out[0, w, byte // 4, nibble, byte % 4, m] = np.uint8(entry & 127)
            if largest == WIDE:
                out[1, w, byte // 4, nibble, byte % 4, m] = np.uint8(entry >> 7)
    return step, low if step > 0 else 0.0


@kernel
def dot(left, right, lanes):
    """`reference.dot`; `lanes` is room for 8 float64 sums."""
    whole = len(left) // 8 * 8
    lane_products(left, right, whole // 8, lanes)
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
    lane_distances(left, right, whole // 8, lanes)
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
def score_rows(query, vectors, metric, filled, keys, values):
    """The full scores of the first `filled` row numbers in `keys`, into `values`."""
    lanes = np.empty(8, np.float64)
    length = np.sqrt(dot(query, query, lanes))
    width = vectors.shape[1]
    for i in range(filled):
        if i + _AHEAD < filled:
            for d in range(0, width, 16):
                prefetch(vectors, keys[i + _AHEAD] * width + d)
        values[i] = full_score(query, length, vectors[keys[i]], metric, lanes)


@kernel
def _may(allowed, row):
    """Whether the row that a record names is allowed."""
    if not 0 <= row < len(allowed):
        raise IndexError("a record names a row that there is not")
    return allowed[row] == 1


@kernel
def _scan(
    probed, scores, starts, rests, head, scale, bias, counts, firsts, spill_firsts, spill_homes,
    record_ints, allowed, tables, slots, shift, step, keep, values, keys,
):  # fmt: skip
    """All slots of the probed cells by their heads; the best `keep` come to the front.

    Candidates gather behind the best; when the buffers are full, the best `keep` of them stay and
    the worst of these becomes the threshold. Nothing that could belong to the best is lost.
    """
    sums, estimates = np.empty(LANES, np.int32), np.empty(LANES, np.float32)
    size, words, room = head.shape[1] * LANES, len(slots), len(values)
    row = record_ints.shape[1] + ROW
    threshold, filled = np.float32(-np.inf), 0
    for p in range(len(probed)):
        cell = probed[p]
        base = scores[cell]
        own, others = starts[cell + 1] - starts[cell], rests[cell + 1] - rests[cell]
        if p + 1 < len(probed):
            after = probed[p + 1]
            ahead = starts[after + 1] - starts[after]
            blocks = ahead + rests[after + 1] - rests[after]
            for i in range(min(6, blocks)):
                block = starts[after] + i if i < ahead else rests[after] + i - ahead
                prefetch(scale, block * LANES)
                for byte in range(0, size, 64):
                    prefetch(head, block * size + byte)
        for i in range(own + others):
            block = starts[cell] + i if i < own else rests[cell] + i - own
            table_sums(head, block * size, tables, slots, sums, words)
            estimate_lanes(sums, scale, block * LANES, base, shift, step, estimates)
            if len(bias):
                for lane in range(LANES):
                    estimates[lane] += bias[block * LANES + lane]
            passed = at_least(estimates, 0, threshold)  # NaN, an empty slot, never passes
            while passed:
                lane = lowest_bit(passed)
                passed &= passed - 1
                home = LANES * i + lane
                if home < counts[cell]:
                    home += firsts[cell]
                else:
                    home = np.int64(spill_homes[spill_firsts[cell] + home - counts[cell]])
                if len(allowed) and not _may(allowed, record_ints[home, row]):
                    continue
                values[filled], keys[filled] = estimates[lane], home
                filled += 1
            if filled + LANES > room:
                select(values, keys, filled, keep)
                filled = keep
                threshold = np.float32(values[:keep].min())
    select(values, keys, filled, keep)
    return min(filled, keep)


@kernel
def _gather(probed, firsts, record_ints, allowed, keys):
    """The homes of all rows at home in the probed cells."""
    filled, row = 0, record_ints.shape[1] + ROW
    for cell in probed:
        for home in range(firsts[cell], firsts[cell + 1]):
            keys[filled] = home
            filled += len(allowed) == 0 or _may(allowed, record_ints[home, row])
    return filled


@kernel
def estimate_homes(
    filled, scores, records, record_floats, record_ints, slots, table, shift, values, keys
):
    """Estimates from the given words for the first `filled` homes in `keys`."""
    width, last = records.shape[1], record_ints.shape[1]
    for i in range(filled):
        if i + _AHEAD < filled:
            for w in range(0, width, 8):
                prefetch(records, keys[i + _AHEAD] * width + w)
            prefetch(records, keys[i + _AHEAD] * width + width - 1)
        home = keys[i]
        inner = shift + selected_sum(records, home * width, slots, table, len(slots))
        owner = record_ints[home, last + OWNER]
        if not 0 <= owner < len(scores):
            raise IndexError("a record names a cell that there is not")
        estimate = scores[owner] + record_floats[home, last + SCALE] * inner
        values[i] = estimate + record_floats[home, last + BIAS]


@kernel
def _run_stages(rotated, scores, probed, cells, funnel, allowed, room, scratch, counts):
    """All coded stages; returns how many homes are left, and counts the rows of each stage."""
    values, keys, table_values, table_room, narrow, hashed = scratch
    filled = 0
    for stage in range(len(funnel.keeps)):
        part = slice(funnel.starts[stage], funnel.starts[stage + 1])
        groups, slots, heads = funnel.groups[part], funnel.slots[part], funnel.head_slots[part]
        keep, dims = funnel.keeps[stage], funnel.dims[stage]
        table = table_values[: len(slots)]
        shift = word_values(rotated, cells.sigma, dims, groups, funnel.coefficients[part], table)
        if stage == 0 and heads.min() >= 0:
            held, spilled = keep, 0
            for cell in probed:
                counts[1] += cells.counts[cell] + cells.spills[cell]
                spilled += cells.spills[cell]
            if spilled:  # a row may stand twice: the best of twice as many are enough
                held = 2 * keep
            tables = narrow[:, : len(slots)]
            step, low = fill_tables(table, NARROW, table_room, tables)
            filled = _scan(
                probed, scores, cells.starts, cells.rests, cells.head, cells.scale, cells.bias,
                cells.counts, cells.firsts, cells.spill_firsts, cells.spill_homes,
                cells.record_ints, allowed, tables, heads, np.float32(shift + low),
                np.float32(step), held, values[:room], keys[:room],
            )  # fmt: skip
            if spilled:
                filled = distinct(values, keys, filled, hashed)
        else:
            if stage == 0:
                filled = _gather(probed, cells.firsts, cells.record_ints, allowed, keys)
                for cell in probed:
                    counts[1] += cells.counts[cell]
            else:
                counts[1 + stage] = filled
            estimate_homes(
                filled, scores, cells.records, cells.record_floats, cells.record_ints, slots,
                table, np.float32(shift), values, keys,
            )  # fmt: skip
        select(values, keys, filled, keep)
        filled = min(filled, keep)
    return filled


@kernel
def search_batch(
    queries, cells, funnel, vectors, allowed, metric, probe, full, k, rows, scores, counts
):
    """`reference.search_one` for each query, into `rows` and `scores` [q, k] and `counts`."""
    dim, count, n = queries.shape[1], len(cells.counts), len(cells.records)
    stages, words = len(funnel.keeps), max(1, len(funnel.slots))
    tabled = stages > 0 and funnel.head_slots[: funnel.starts[1]].min() >= 0
    # Room for as many again as are kept, so that the threshold is renewed by whole buffers.
    room = 4 * funnel.keeps[0] + 16 * LANES if tabled else max(k, n)
    values, keys = np.empty(room), np.empty(room, np.int64)
    hashed = np.full(_hash_room(2 * funnel.keeps[0] if tabled else 0), -1, np.int64)
    table_values, table_room = np.empty((words, GROUP), np.float32), np.empty((16 * words, 16))
    narrow = np.empty((1, words, 2, 2, 4, 16), np.uint8)
    scratch = values, keys, table_values, table_room, narrow, hashed
    rotated, whole = np.empty(len(cells.sigma), np.float32), np.empty(dim + 3, np.int8)
    cell_scores = np.empty(len(cells.steps), np.float32)
    ranks = np.empty(len(cells.steps), np.float32)
    cell_values, cell_keys = np.empty(count + 1), np.empty(count + 1, np.int64)
    row = cells.record_ints.shape[1] + ROW
    counts[:] = 0
    for q in range(len(queries)):
        rotate(queries[q], cells.rotation, rotated)
        score_cells(
            rotated, cells.sigma, cells.centroids, cells.steps, cells.priors, cells.spreads,
            whole, cell_scores, ranks,
        )  # fmt: skip
        probes = probe_cells(ranks[:count], cells.counts, probe, k, cell_values, cell_keys)
        probed = cell_keys[:probes]
        counts[q, 0] = probes
        if stages:
            filled = _run_stages(
                rotated, cell_scores, probed, cells, funnel, allowed, room, scratch,
                counts[q],
            )  # fmt: skip
        else:
            filled = _gather(probed, cells.firsts, cells.record_ints, allowed, keys)
            values[:filled] = 0.0
        record_ints = cells.record_ints
        for i in range(filled):
            keys[i] = record_ints[keys[i], row]
            if not 0 <= keys[i] < n:
                raise IndexError("a record names a row that there is not")
        if full:
            counts[q, 1 + stages] = filled
            score_rows(queries[q], vectors, metric, filled, keys, values)
        answer(filled, k, values, keys, rows[q], scores[q])


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
    rows[:found] = keys[:found]
    scores[:found] = values[:found]
    rows[found:] = -1
    scores[found:] = -np.inf
