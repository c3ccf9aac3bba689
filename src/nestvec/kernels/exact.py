"""The exact top k, with proof: a row is left out only when a bound on its score says it may be.

The bound. Let y be a row as coded (under the cosine metric its direction), R the stored rotation,
q̃ the rotated query as computed, c the row's centroid and x̂ = c + scale · d its decoded code, d
being that of the head or of all words. Whatever q̃ and R are, with δ = q − q̃ Rᵀ,

    ⟨q, y⟩ = ⟨q̃, yR⟩ + ⟨δ, y⟩ = ⟨q̃, c⟩ + scale · ⟨q̃, d⟩ + ⟨q̃, yR − x̂⟩ + ⟨δ, y⟩
           ≤ ⟨q̃, c⟩ + scale · ⟨q̃, d⟩ + Σ_p |q̃_p| e_p + |δ| · longest            (Cauchy–Schwarz)

where e_p is the stored error of part p, rounded up, rounding of the build included
(`Codec.encode`). No step needs R to be exactly orthogonal. What is computed differs from the right
side by roundings, and each has its allowance, added to the bound. u = 2⁻²⁴, float32's half unit.

1. *The query in whole steps*, where centroids are scored: q̃ = s (256 w₁ + w₂) + ρ with signed bytes
   w₁ and w₂; ⟨ρ, c⟩ ≤ |ρ| |c| ≤ |ρ| · 127 step_c √width. s has no more bits than a float32, so that
   ρ and the products with the centroid are exact in float64.
2. *Tables*: each entry is within half a step of the sum it stands for (`wide` entries are used, so
   that this is little): tables · Δ / 2, times the row's scale.
3. *Sums of selected values*: at most 4 · words + 4 additions a lane (Higham 2002, §4.2):
   (4 · words + 8) u Σ|value|, times scale.
4. *The other operations* on float32: each of the terms goes through at most 16 roundings, each of
   at most u of itself: two in its value coef · (sigma · q̃), two in the decoding that e_p refers
   to, at most eight in what is done with it; float64 ones on the way are less than another. 16u of
   |⟨q̃, c⟩|, of |ρ| |c|, of scale · (|shift| + Σ|value|), of Σ|q̃_p| e_p, of |δ| · longest and of
   the bias, which is −|y|²/2.
5. *Underflow*: a result below float32's normal range is off by up to 2⁻¹⁴⁹, thousands of such by
   less than 2⁻¹²⁰; that much is added, times scale and once more.
6. *The rest of the rotation*: |δ| is made of float64 sums, each off by at most dim · 2⁻⁵³ of |q̃|
   times a row of R.
7. *The scores* that answers are ranked by are float64, each within `dim + 8` roundings of 2⁻⁵³ of
   (|q| + longest)² (inner product and distance) or of 1 (cosine).

A bound that overflowed to NaN or infinity drops no row: −∞ none has, as scales of codes that say
next to nothing are 0 (`Codec.encode`). Each allowance is needed, and named below: where it is taken
away, tests see bounds fail.
"""

import numpy as np

from nestvec.kernels.dense import byte_products
from nestvec.kernels.jit import kernel
from nestvec.kernels.layout import (
    BIAS,
    COSINE,
    ERRORS,
    EUCLIDEAN,
    GROUP,
    LANES,
    PARTS,
    ROW,
    SCALE,
    WIDE,
)
from nestvec.kernels.ranking import select
from nestvec.kernels.searching import (
    answer,
    dot,
    fill_tables,
    full_score,
    rotate,
    word_values,
)
from nestvec.kernels.simd import (
    bound_lanes,
    lowest_bit,
    not_below,
    prefetch,
    selected_sum,
)
from nestvec.kernels.tables import wide_table_sums

_U = 2.0**-24
_LARGEST_WHOLE = 127.0  # 1
_ENTRY = 0.5  # 2
_ADDITION = _U  # 3
_LAST = 16 * _U  # 4
_TINY = 2.0**-120  # 5
_REST = 2.0**-52  # 6
_SCORE = 2.0**-52  # 7
_AHEAD = 8
_CHUNK = 1024
"""Rows that passed the bound by their heads, looked at closer together."""


@kernel
def _up(value):
    """The value as a float32 that is not below it."""
    narrow = np.float32(value)
    return narrow if np.float64(narrow) >= value else np.nextafter(narrow, np.float32(np.inf))


@kernel
def _rotation_rest(query, rotation, rotated, lanes):
    """|δ|, rounded up."""
    total = 0.0
    for i in range(len(query)):
        rest = np.float64(query[i]) - dot(rotated, rotation[i], lanes)
        total += rest * rest
    length = np.sqrt(dot(rotated, rotated, lanes))
    return np.sqrt(total) + len(query) ** 1.5 * _REST * length


@kernel
def _bound_cells(rotated, centroids, steps, whole, room, bounds):
    """Upper bounds on ⟨q̃, c⟩ for all cells (allowances 1, 4 and 5)."""
    blocks, fours = centroids.shape[:2]
    width = min(4 * fours, len(rotated))
    largest = 0.0
    for i in range(width):
        largest = max(largest, abs(np.float64(rotated[i])))
    coarse = np.float64(_up(largest / 127))
    fine = coarse / 256
    totals, rest = np.zeros(2, np.int64), 0.0
    whole[:] = 0
    for i in range(width if coarse > 0 else 0):
        upper = np.rint(rotated[i] / coarse)
        left = rotated[i] - upper * coarse
        lower = min(max(np.rint(left / fine), -127.0), 127.0)
        left -= lower * fine
        rest += left * left
        whole[0, i], whole[1, i] = np.int8(upper), np.int8(lower)
        totals[0] += np.int64(upper)
        totals[1] += np.int64(lower)
    rest = (1 + _LAST) * np.sqrt(rest) * _LARGEST_WHOLE * np.sqrt(width)
    for block in range(blocks):
        byte_products(centroids, block * 64 * fours, whole[0], room[0], fours)
        byte_products(centroids, block * 64 * fours, whole[1], room[1], fours)
        for lane in range(LANES):
            step = np.float64(steps[LANES * block + lane])
            first = room[0, lane] - 128 * totals[0]
            product = fine * (256 * first + room[1, lane] - 128 * totals[1])
            bounds[LANES * block + lane] = step * (product + rest)
    for cell in range(len(bounds)):
        bounds[cell] += _LAST * abs(bounds[cell]) + _TINY


@kernel
def _absolute(values):
    total = 0.0
    for w in range(len(values)):
        for i in range(GROUP):
            total += abs(np.float64(values[w, i]))
    return total


@kernel
def _weights(rotated, bounds, weights):
    """|q̃_p| for each part, rounded up for float32 and allowances 4 and 5."""
    for part in range(PARTS):
        total = 0.0
        for i in range(bounds[part], bounds[part + 1]):
            total += np.float64(rotated[i]) * np.float64(rotated[i])
        weights[part] = _up((1 + _LAST) * np.sqrt(total) + _TINY)


@kernel
def _cut(score, query_length, longest, dim, metric):
    """What ⟨q, y⟩ + bias must reach, in float32, for a score to reach `score` (allowance 7)."""
    roundings = (dim + 8) * _SCORE
    if metric == COSINE:
        needed = (score - roundings * (1 + abs(score))) * query_length
        needed -= roundings * abs(needed)
    else:
        error = roundings * (query_length + longest) ** 2
        needed = score - error
        if metric == EUCLIDEAN:
            needed = (score + query_length * query_length - 2 * error) / 2
    narrow = np.float32(needed)
    return np.nextafter(narrow, np.float32(-np.inf))


@kernel
def _closer(
    waiting, homes, bases, weights, records, record_floats, record_ints, rows, allowed,
    slots, table, shift, cut, survivors,
):  # fmt: skip
    """Of the waiting rows, those whose bound by all words reaches the cut; returns how many."""
    width = records.shape[1]
    last = 2 * width
    found = 0
    for i in range(waiting):
        if i + _AHEAD < waiting:
            for w in range(0, width, 8):
                prefetch(records, homes[i + _AHEAD] * width + w)
            prefetch(records, homes[i + _AHEAD] * width + width - 1)
        home = homes[i]
        row = record_ints[home, last + ROW]
        if not 0 <= row < rows:
            raise IndexError("a record names a row that there is not")
        if len(allowed) and allowed[row] == 0:
            continue
        inner = shift + selected_sum(records, home * width, slots, table, len(slots))
        bound = bases[i] + record_floats[home, last + SCALE] * inner
        for part in range(PARTS):
            bound += weights[part] * record_floats[home, last + ERRORS + part]
        bound += record_floats[home, last + BIAS]
        if not bound < cut:
            survivors[found] = row
            found += 1
    return found


@kernel
def _settle(
    query, length, waiting, homes, bases, weights, cells, vectors, allowed, slots, table, shift,
    longest, metric, k, floor, filled, survivors, values, keys, counts,
):  # fmt: skip
    """Bound the waiting rows by all words, score in full what is left, keep the best `k`.

    Returns how many rows are held and the score that a row must reach from now on.
    """
    dim, lanes = vectors.shape[1], np.empty(8)
    cut = _cut(floor, length, longest, dim, metric)
    found = _closer(
        waiting, homes, bases, weights, cells.records, cells.record_floats, cells.record_ints,
        len(vectors), allowed, slots, table, shift, cut, survivors,
    )  # fmt: skip
    counts[1] += waiting
    counts[2] += found
    for i in range(found):
        if i + 4 < found:
            for d in range(0, dim, 16):
                prefetch(vectors, survivors[i + 4] * dim + d)
        values[filled] = full_score(query, length, vectors[survivors[i]], metric, lanes)
        keys[filled] = survivors[i]
        filled += values[filled] >= floor
    if filled > k:
        select(values, keys, filled, k)
        filled = k
    if filled == k:
        floor = max(floor, values[:k].min())
    return filled, floor


@kernel
def _prepare(rotated, cells, funnel, stage, table):
    """The values of a stage's words into `table`; returns the shift and Σ|value|."""
    part = slice(funnel.starts[stage], funnel.starts[stage + 1])
    shift = word_values(
        rotated, cells.sigma, len(rotated), funnel.groups[part], funnel.coefficients[part], table
    )
    return shift, _absolute(table)


@kernel
def _ask(
    query, cells, funnel, part_bounds, longest, metric, rotated, lanes, whole, products, bounds,
    weights, head_table, table, room, wide,
):  # fmt: skip
    """What bounds are made of, for one query, into the given arrays.

    Returns the query's length, the bound on |δ| · longest (and on what the bias is off by), the
    constant part of bounds by heads, their step, and the constant part of bounds by all words.
    """
    words = funnel.starts[1]
    rotate(query, cells.rotation, rotated)
    length = np.sqrt(dot(query, query, lanes))
    extra = (1 + _LAST) * longest * _rotation_rest(query, cells.rotation, rotated, lanes)
    if metric == EUCLIDEAN:
        extra += _LAST * longest * longest
    _bound_cells(rotated, cells.centroids, cells.steps, whole, products, bounds)
    _weights(rotated, part_bounds, weights)
    shift, total = _prepare(rotated, cells, funnel, 0, head_table)
    step, low = fill_tables(head_table, WIDE, room, wide)
    table_error = 16 * words * step * (_ENTRY + _LAST * WIDE)
    head_shift = _up(shift + low + table_error + _LAST * (total + abs(shift + low)) + _TINY)
    shift, total = _prepare(rotated, cells, funnel, 1, table)
    word_error = (4 * (funnel.starts[2] - words) + 8) * _ADDITION * total
    word_shift = _up(shift + word_error + _LAST * (total + abs(shift)) + _TINY)
    return length, extra, head_shift, np.float32(step), word_shift


@kernel
def exact_batch(
    queries, cells, funnel, vectors, part_bounds, longest, allowed, metric, k, floors, patience,
    rows, scores, counts,
):  # fmt: skip
    """The exact top `k` of each query, into `rows` and `scores`; `reference.exact_one` defines it.

    `funnel` has two stages: the head, and all words. `longest` bounds the lengths of coded rows.
    `floors` are scores that the k-th best is known to reach (−inf: nothing is known). Fewer than
    `k` rows are filled up with row −1, score −inf. `counts` are [rows bounded by their heads, rows
    bounded by all words, rows scored in full, 1 if the query was given up]: it is as soon as more
    than `patience` rows score above its floor.
    """
    dim, words = queries.shape[1], funnel.starts[1]
    heads, slots = funnel.head_slots[:words], funnel.slots[words:]
    head_table = np.empty((words, GROUP), np.float32)
    table = np.empty((len(slots), GROUP), np.float32)
    room, wide = np.empty((16 * words, 16)), np.empty((2, words, 2, 2, 4, 16), np.uint8)
    rotated, lanes = np.empty(dim, np.float32), np.empty(8)
    whole, products = np.empty((2, dim + 3), np.int8), np.empty((2, LANES), np.int32)
    bounds, weights = np.empty(len(cells.steps)), np.empty(PARTS, np.float32)
    sums, estimates = np.empty(LANES, np.int32), np.empty(LANES, np.float32)
    homes, bases = np.empty(_CHUNK + LANES, np.int64), np.empty(_CHUNK + LANES, np.float32)
    survivors = np.empty(_CHUNK + LANES, np.int64)
    values, keys = np.empty(k + _CHUNK + LANES), np.empty(k + _CHUNK + LANES, np.int64)
    starts, own, head, scale, bias = cells.starts, cells.counts, cells.head, cells.scale, cells.bias
    firsts, head_errors = cells.firsts, cells.head_errors
    size, cell_count = head.shape[1] * LANES, len(own)
    counts[:] = 0
    for q in range(len(queries)):
        query = queries[q]
        length, extra, head_shift, head_step, word_shift = _ask(
            query, cells, funnel, part_bounds, longest, metric, rotated, lanes, whole, products,
            bounds, weights, head_table, table, room, wide,
        )  # fmt: skip
        filled, floor, waiting = 0, floors[q], 0
        cut = _cut(floor, length, longest, dim, metric)
        for cell in range(cell_count):
            base = _up(bounds[cell] + extra)
            for block in range(starts[cell], starts[cell + 1]):
                wide_table_sums(head, block * size, wide, heads, sums, words)
                bound_lanes(
                    sums, scale, block * LANES, base, head_shift, head_step, estimates,
                    head_errors, block * PARTS * LANES, weights,
                )  # fmt: skip
                if len(bias):
                    for lane in range(LANES):
                        estimates[lane] += bias[block * LANES + lane]
                passed = not_below(estimates, 0, cut)
                left = own[cell] - (block - starts[cell]) * LANES
                if left < LANES:  # behind them lie rows that are at home elsewhere
                    passed &= (1 << left) - 1
                while passed:
                    lane = lowest_bit(passed)
                    passed &= passed - 1
                    homes[waiting] = firsts[cell] + (block - starts[cell]) * LANES + lane
                    bases[waiting] = base
                    waiting += 1
                if waiting >= _CHUNK:
                    filled, floor = _settle(
                        query, length, waiting, homes, bases, weights, cells, vectors, allowed,
                        slots, table, word_shift, longest, metric, k, floor, filled, survivors,
                        values, keys, counts[q],
                    )  # fmt: skip
                    waiting = 0
                    cut = _cut(floor, length, longest, dim, metric)
            counts[q, 0] += own[cell]
            if patience < k and _above(values, filled, floors[q]) > patience:
                counts[q, 3] = 1
                break
        filled, floor = _settle(
            query, length, waiting, homes, bases, weights, cells, vectors, allowed, slots, table,
            word_shift, longest, metric, k, floor, filled, survivors, values, keys, counts[q],
        )  # fmt: skip
        if patience < k and _above(values, filled, floors[q]) > patience:
            counts[q, 3] = 1
        answer(filled, k, values, keys, rows[q], scores[q])


@kernel
def _above(values, filled, floor):
    above = 0
    for i in range(filled):
        above += values[i] > floor
    return above


@kernel
def scan_batch(queries, vectors, candidates, metric, k, rows, scores):
    """`reference.exact_one` by scoring every one of the candidate rows."""
    lanes, width = np.empty(8), vectors.shape[1]
    values, keys = np.empty(2 * k + 64), np.empty(2 * k + 64, np.int64)
    for q in range(len(queries)):
        length = np.sqrt(dot(queries[q], queries[q], lanes))
        filled, floor = 0, -np.inf
        for i in range(len(candidates)):
            row = candidates[i]
            if i + 2 < len(candidates):
                for d in range(0, width, 16):
                    prefetch(vectors, candidates[i + 2] * width + d)
            score = full_score(queries[q], length, vectors[row], metric, lanes)
            if score >= floor:
                values[filled], keys[filled] = score, row
                filled += 1
            if filled == len(values):
                select(values, keys, filled, k)
                filled, floor = k, values[:k].min()
        answer(filled, k, values, keys, rows[q], scores[q])
