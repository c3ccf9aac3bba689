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
2. *Tables* of the head: each entry is within half a step of the sum it stands for: tables · Δ / 2,
   times the row's scale.
3. *Values in whole steps*, where all words are read: v = Δ w + ρ with 16-bit w, and what is chosen
   of the ρ is no more than the positive ones together: Σ max(ρ, 0), times scale. Sums of whole
   numbers are exact.
4. *The other operations* on float32: each of the terms goes through at most 16 roundings, each of
   at most u of itself: two in its value coef · (sigma · q̃), two in the decoding that e_p refers
   to, at most eight in what is done with it; float64 ones on the way are less than another. 16u of
   |⟨q̃, c⟩|, of |ρ| |c|, of scale · (|shift| + Σ|value|), of Σ|q̃_p| e_p, of |δ| · longest and of
   the bias, which is −|y|²/2.
5. *Underflow*: a result below float32's normal range is off by up to 2⁻¹⁴⁹, thousands of such by
   less than 2⁻¹²⁰; that much is added, times scale and once more.
6. *The rest of the rotation*: δ = q (I − R Rᵀ) + (qR − q̃) Rᵀ. With D ≥ ‖I − R Rᵀ‖, of which
   `defect` tells, ‖R‖² ≤ 1 + D. qR is added up in float64, each entry off by at most dim · 2⁻⁵³ of
   |q| times a column of R, and then rounded to float32, by at most u of itself (or 2⁻¹⁵⁰):
   |δ| ≤ |q| D + (1 + D) ((u + dim^1.5 · 2⁻⁵³) |q| + dim · 2⁻¹⁵⁰), up to u of this.
7. *The scores* that answers are ranked by are float64, each within `dim + 8` roundings of 2⁻⁵³ of
   (|q| + longest)² (inner product and distance) or of 1 (cosine).

A bound that overflowed to NaN or infinity drops no row: −∞ none has, as scales of codes that say
next to nothing are 0 (`Codec.encode`). Each allowance is needed, and named below: where it is taken
away, tests see bounds fail.

Queries share what they read: those of a tile all bound a run of blocks while it is in the cache.
"""

from typing import NamedTuple

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
from nestvec.kernels.searching import answer, dot, fill_tables, full_score, word_values
from nestvec.kernels.simd import (
    bound_lanes,
    chosen_sum,
    lowest_bit,
    not_below,
    prefetch,
)
from nestvec.kernels.tables import wide_table_sums

_U = 2.0**-24
_LARGEST_WHOLE = 127.0  # 1
_ENTRY = 0.5  # 2
_VALUE = 1.0  # 3
_LAST = 16 * _U  # 4
_TINY = 2.0**-120  # 5
_ROTATED = _U  # 6
_DEFECT = 2.0**-52  # 6
_SCORE = 2.0**-52  # 7
_AHEAD = 8
_TILE = 16
"""Queries that read blocks together: their tables and bounds of cells share the second cache."""
_RUN = 256
"""Blocks that they read at a time."""
_CHUNK = 1024
"""Rows that passed the bound by their heads, looked at closer together."""


class _Asked(NamedTuple):
    """What bounds are made of, for each query of a tile."""

    lengths: np.ndarray  # float64 [tile]
    bases: np.ndarray  # float32 [tile, cells], bounds on ⟨q̃, c⟩ + |δ| · longest
    weights: np.ndarray  # float32 [tile, PARTS], |q̃_p|
    tables: np.ndarray  # uint8 [tile, 2, head words, 2, 2, 4, 16]
    terms: np.ndarray  # float32 [tile, 2], of bounds by heads: shift, step
    values: np.ndarray  # uint8 [tile, 2, words, GROUP], see `chosen_sum`
    word_terms: np.ndarray  # float32 [tile, 2], of bounds by all words: shift, step


class _Held(NamedTuple):
    """What is known of each query's answer so far."""

    floors: np.ndarray  # float64 [tile], what a row must score
    cuts: np.ndarray  # float32 [tile], and what its bound must reach for that
    waiting: np.ndarray  # int64 [tile], how many rows passed the bound by their heads
    homes: np.ndarray  # int64 [tile, 2, room], of these, and their cells
    filled: np.ndarray  # int64 [tile], how many rows are scored and may be among the best
    values: np.ndarray  # float64 [tile, k + room]
    keys: np.ndarray  # int64 [tile, k + room]


@kernel
def defect(rotation):
    """A bound on ‖I − R Rᵀ‖, allowance for its own float64 sums included."""
    dim, lanes = len(rotation), np.empty(8)
    rest, squares = 0.0, 0.0
    for i in range(dim):
        square = dot(rotation[i], rotation[i], lanes)
        squares += square
        rest += (1 - square) ** 2
        for j in range(i):
            rest += 2 * dot(rotation[i], rotation[j], lanes) ** 2
    # Each product is off by dim · 2⁻⁵³ of two rows' lengths: all of them by that of Σ length².
    rounding = dim * _DEFECT * (1 + squares)
    return (1 + _DEFECT * dim**2) * np.sqrt(rest) + rounding


@kernel
def _up(value):
    """The value as a float32 that is not below it."""
    narrow = np.float32(value)
    return narrow if np.float64(narrow) >= value else np.nextafter(narrow, np.float32(np.inf))


@kernel
def _rotate(query, rotation, sums, rotated):
    """The query times the rotation, added up in float64 `sums`, as float32 `rotated`."""
    sums[:] = 0.0
    for i in range(len(query)):
        entry = np.float64(query[i])
        for j in range(len(sums)):
            sums[j] += entry * np.float64(rotation[i, j])
    for j in range(len(sums)):
        rotated[j] = np.float32(sums[j])


@kernel
def _rotation_rest(length, dim, orthogonal):
    """A bound on |δ| for a query of this length; `orthogonal` is the rotation's `defect`."""
    rounding = (_ROTATED + dim**1.5 * _DEFECT) * length + dim * 2.0**-149
    return (1 + _LAST) * (length * orthogonal + (1 + orthogonal) * rounding)


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
def _whole_values(table, values):
    """A table's float32 values in whole steps, into the two planes of bytes of `values`.

    Returns the step and what rounding may have taken off a sum of any of them (allowance 3).
    """
    # So few that no sum of them is beyond 32 bits.
    most = min(32767, (2**31 - 1) // table.size)
    largest = 0.0
    for w in range(len(table)):
        for i in range(GROUP):
            largest = max(largest, abs(np.float64(table[w, i])))
    step, rest = largest / most, 0.0
    for w in range(len(table)):
        for i in range(GROUP):
            value = np.float64(table[w, i])
            whole = np.rint(value / step) if step > 0 else 0.0
            whole = min(max(whole, -np.float64(most)), np.float64(most))
            rest += max(value - step * whole, 0.0)
            number = np.int64(whole)
            values[0, w, i] = np.uint8(number & 255)
            values[1, w, i] = np.uint8((number >> 8) & 255)
    return step, _VALUE * rest


@kernel
def _prepare(rotated, cells, funnel, stage, table):
    """The values of a stage's words into `table`; returns the shift and Σ|value|."""
    part = slice(funnel.starts[stage], funnel.starts[stage + 1])
    shift = word_values(
        rotated, cells.sigma, len(rotated), funnel.groups[part], funnel.coefficients[part], table
    )
    return shift, _absolute(table)


@kernel
def _head_terms(rotated, cells, funnel, table, room, tables, terms):
    """What bounds by heads are made of, into `tables` and `terms`."""
    shift, total = _prepare(rotated, cells, funnel, 0, table)
    step, low = fill_tables(table, WIDE, room, tables)
    error = 16 * len(table) * step * (_ENTRY + _LAST * WIDE)
    error += _LAST * (total + abs(shift + low)) + _TINY
    terms[0], terms[1] = _up(shift + low + error), np.float32(step)


@kernel
def _word_terms(rotated, cells, funnel, table, values, terms):
    """What bounds by all words are made of, into `values` and `terms`."""
    shift, total = _prepare(rotated, cells, funnel, 1, table)
    step, error = _whole_values(table, values)
    error += _LAST * (total + abs(shift) + error) + _TINY
    terms[0], terms[1] = _up(shift + error), np.float32(step)


@kernel
def _ask(queries, cells, funnel, part_bounds, longest, orthogonal, metric, asked):
    """What the bounds of some queries are made of, into `asked`."""
    dim, words = queries.shape[1], funnel.starts[1]
    sums, rotated, lanes = np.empty(dim), np.empty(dim, np.float32), np.empty(8)
    whole, products = np.empty((2, dim + 3), np.int8), np.empty((2, LANES), np.int32)
    bounds, room = np.empty(len(cells.steps)), np.empty((16 * words, 16))
    table = np.empty((funnel.starts[2], GROUP), np.float32)
    for t in range(len(queries)):
        length = np.sqrt(dot(queries[t], queries[t], lanes))
        _rotate(queries[t], cells.rotation, sums, rotated)
        extra = (1 + _LAST) * longest * _rotation_rest(length, dim, orthogonal)
        if metric == EUCLIDEAN:
            extra += _LAST * longest * longest
        _bound_cells(rotated, cells.centroids, cells.steps, whole, products, bounds)
        for cell in range(asked.bases.shape[1]):
            asked.bases[t, cell] = np.float32(bounds[cell] + extra)
        _weights(rotated, part_bounds, asked.weights[t])
        _head_terms(rotated, cells, funnel, table[:words], room, asked.tables[t], asked.terms[t])
        _word_terms(rotated, cells, funnel, table[words:], asked.values[t], asked.word_terms[t])
        asked.lengths[t] = length


@kernel
def _bound_heads(cells, first, last, cell, slots, tables, terms, bases, weights, cut, found):
    """Which rows at home in the blocks from `first`, in `cell`, to `last` reach the cut by heads.

    Their places in each block, as bits, and its cell go into `found` [2, blocks]. Nothing branches
    on a bound: a branch taken wrongly costs more than bounding two blocks.
    """
    sums, bounds = np.empty(LANES, np.int32), np.empty(LANES, np.float32)
    head, scale, bias, errors = cells.head, cells.scale, cells.bias, cells.head_errors
    starts, counts, size, count = cells.starts, cells.counts, head.shape[1] * LANES, len(slots)
    shift, step = terms
    for block in range(first, last):
        while starts[cell + 1] <= block:
            cell += 1
        for byte in range(0, size, 64):
            prefetch(head, (block + _AHEAD) * size + byte)
        wide_table_sums(head, block * size, tables, slots, sums, count)
        bound_lanes(
            sums, scale, block * LANES, bases[cell], shift, step, bounds, errors,
            block * PARTS * LANES, weights,
        )  # fmt: skip
        if len(bias):
            for lane in range(LANES):
                bounds[lane] += bias[block * LANES + lane]
        # Behind them lie rows that are at home elsewhere.
        own = min(counts[cell] - (block - starts[cell]) * LANES, LANES)
        found[0, block - first] = not_below(bounds, 0, cut) & ((1 << own) - 1)
        found[1, block - first] = cell


@kernel
def _gather(starts, firsts, first, last, found, homes, waiting):
    """The homes of the found rows, and their cells, behind the first `waiting` of `homes`.

    Returns how many these are then.
    """
    for block in range(first, last):
        passed, cell = found[0, block - first], found[1, block - first]
        home = firsts[cell] + (block - starts[cell]) * LANES
        while passed:
            homes[0, waiting], homes[1, waiting] = home + lowest_bit(passed), cell
            waiting += 1
            passed &= passed - 1
    return waiting


@kernel
def _closer(cells, homes, waiting, slots, values, terms, bases, weights, cut, allowed, n, found):
    """Of the waiting rows, those whose bound by all words reaches the cut; returns how many."""
    records, floats, ints = cells.records, cells.record_floats, cells.record_ints
    width = records.shape[1]
    last, count = 2 * width, 0
    shift, step = terms
    for i in range(waiting):
        ahead = homes[0, min(i + _AHEAD, waiting - 1)] * width
        for w in range(0, width, 8):
            prefetch(records, ahead + w)
        prefetch(records, ahead + width - 1)
        home = homes[0, i]
        row = ints[home, last + ROW]
        if not 0 <= row < n:
            raise IndexError("a record names a row that there is not")
        total = np.float32(chosen_sum(records, home * width, slots, values, len(slots)))
        bound = bases[homes[1, i]] + floats[home, last + SCALE] * (shift + step * total)
        for part in range(PARTS):
            bound += weights[part] * floats[home, last + ERRORS + part]
        bound += floats[home, last + BIAS]
        found[count] = row
        count += (not bound < cut) & (len(allowed) == 0 or allowed[row] == 1)
    return count


@kernel
def _ask_vector(vectors, row):
    for d in range(0, vectors.shape[1], 16):
        prefetch(vectors, row * vectors.shape[1] + d)


@kernel
def _score(query, length, vectors, found, count, metric, floor, filled, values, keys):
    """The full scores of the found rows, of those that reach the floor, behind the first `filled`.

    Returns how many these are then.
    """
    lanes = np.empty(8)
    for i in range(min(_AHEAD, count)):
        _ask_vector(vectors, found[i])
    for i in range(count):
        _ask_vector(vectors, found[min(i + _AHEAD, count - 1)])
        values[filled] = full_score(query, length, vectors[found[i]], metric, lanes)
        keys[filled] = found[i]
        filled += values[filled] >= floor
    return filled


@kernel
def _settle(
    query, t, cells, slots, asked, held, vectors, longest, metric, allowed, k, found, counts
):
    """Bound the rows that wait by all words, score what is left, keep the best `k`."""
    waiting, values, keys = held.waiting[t], held.values[t], held.keys[t]
    count = _closer(
        cells, held.homes[t], waiting, slots, asked.values[t], asked.word_terms[t], asked.bases[t],
        asked.weights[t], held.cuts[t], allowed, len(vectors), found,
    )  # fmt: skip
    counts[1] += waiting
    counts[2] += count
    length, floor = asked.lengths[t], held.floors[t]
    filled = _score(
        query, length, vectors, found, count, metric, floor, held.filled[t], values, keys
    )
    if filled > k:
        select(values, keys, filled, k)
        filled = k
    if filled == k:
        held.floors[t] = max(floor, values[:k].min())
        held.cuts[t] = _cut(held.floors[t], length, longest, len(query), metric)
    held.filled[t], held.waiting[t] = filled, 0


@kernel
def _homes_between(cells, cell, first, last):
    """How many rows are at home in the blocks from `first`, in `cell`, to `last`."""
    homes, starts = 0, cells.starts
    while cell < len(cells.counts) and starts[cell] < last:
        before = LANES * max(first - starts[cell], 0)
        homes += min(LANES * (last - starts[cell]), cells.counts[cell]) - before
        cell += 1
    return homes


@kernel
def _search_tile(
    queries, cells, funnel, vectors, asked, held, longest, allowed, metric, k, floors, patience,
    counts,
):  # fmt: skip
    """`exact_batch` for the queries of a tile, into `held`."""
    words = funnel.starts[1]
    heads, slots = funnel.head_slots[:words], funnel.slots[words:]
    found, rows = np.empty((2, _RUN), np.int64), np.empty(held.homes.shape[2], np.int64)
    starts, cell, blocks = cells.starts, 0, cells.starts[-1]
    for t in range(len(queries)):
        held.floors[t], held.filled[t], held.waiting[t] = floors[t], 0, 0
        held.cuts[t] = _cut(floors[t], asked.lengths[t], longest, queries.shape[1], metric)
    for first in range(0, blocks, _RUN):
        last = min(first + _RUN, blocks)
        while starts[cell + 1] <= first:
            cell += 1
        homes = _homes_between(cells, cell, first, last)
        for t in range(len(queries)):
            if counts[t, 3]:
                continue
            _bound_heads(
                cells, first, last, cell, heads, asked.tables[t], asked.terms[t], asked.bases[t],
                asked.weights[t], held.cuts[t], found,
            )  # fmt: skip
            held.waiting[t] = _gather(
                starts, cells.firsts, first, last, found, held.homes[t], held.waiting[t]
            )
            counts[t, 0] += homes
            if held.waiting[t] >= _CHUNK or last == blocks:
                _settle(
                    queries[t], t, cells, slots, asked, held, vectors, longest, metric, allowed, k,
                    rows, counts[t],
                )  # fmt: skip
                above = np.sum(held.values[t, : held.filled[t]] > floors[t])
                counts[t, 3] = patience < k and above > patience


@kernel
def exact_batch(
    queries, cells, funnel, vectors, part_bounds, longest, orthogonal, allowed, metric, k, floors,
    patience, rows, scores, counts,
):  # fmt: skip
    """The exact top `k` of each query, into `rows` and `scores`; `reference.exact_one` defines it.

    `funnel` has two stages: the head, and all words. `longest` bounds the lengths of coded rows,
    `orthogonal` is the rotation's `defect`. `floors` are scores that the k-th best is known to
    reach (−inf: nothing is known). Fewer than `k` rows are filled up with row −1, score −inf.
    `counts` are [rows bounded by their heads, rows bounded by all words, rows scored in full, 1 if
    the query was given up]: it is as soon as more than `patience` rows score above its floor.
    """
    tile, words = max(1, min(_TILE, len(queries))), funnel.starts[1]
    room = _CHUNK + _RUN * LANES
    asked = _Asked(
        np.empty(tile), np.empty((tile, len(cells.counts)), np.float32),
        np.empty((tile, PARTS), np.float32), np.empty((tile, 2, words, 2, 2, 4, 16), np.uint8),
        np.empty((tile, 2), np.float32),
        np.empty((tile, 2, funnel.starts[2] - words, GROUP), np.uint8),
        np.empty((tile, 2), np.float32),
    )  # fmt: skip
    held = _Held(
        np.empty(tile), np.empty(tile, np.float32), np.empty(tile, np.int64),
        np.empty((tile, 2, room), np.int64), np.empty(tile, np.int64), np.empty((tile, k + room)),
        np.empty((tile, k + room), np.int64),
    )  # fmt: skip
    counts[:] = 0
    for first in range(0, len(queries), tile):
        part = slice(first, min(first + tile, len(queries)))
        _ask(queries[part], cells, funnel, part_bounds, longest, orthogonal, metric, asked)
        _search_tile(
            queries[part], cells, funnel, vectors, asked, held, longest, allowed, metric, k,
            floors[part], patience, counts[part],
        )  # fmt: skip
        for q in range(part.start, part.stop):
            t = q - first
            answer(held.filled[t], k, held.values[t], held.keys[t], rows[q], scores[q])


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
