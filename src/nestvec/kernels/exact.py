"""Compiled exact top k with proof: a row is left out only if an upper bound on its score allows it.

The bound. Let y be a row as coded (under the cosine metric its direction), R the stored rotation,
q̃ the rotated query as computed, c the row's centroid and x̂ = c + scale · d its decoded code, d
being that of the head or of all words. Whatever q̃ and R are, with δ = q − q̃ Rᵀ,

    ⟨q, y⟩ = ⟨q̃, yR⟩ + ⟨δ, y⟩ = ⟨q̃, c⟩ + scale · ⟨q̃, d⟩ + ⟨q̃, yR − x̂⟩ + ⟨δ, y⟩
           ≤ ⟨q̃, c⟩ + scale · ⟨q̃, d⟩ + Σ_p |q̃_p| e_p + |δ| · longest            (Cauchy–Schwarz)

where e_p is the stored error of part p, rounded up, rounding of the build included
(`Codec.encode`). No step needs R to be exactly orthogonal. The computed bound differs from the
right side by roundings, and each has its allowance, added to the bound. u = 2⁻²⁴, float32's half
unit.

1. *The query in integer steps*, where centroids are scored: q̃ = s (256 w₁ + w₂) + ρ with signed
   bytes w₁ and w₂; ⟨ρ, c⟩ ≤ |ρ| |c| ≤ |ρ| · 127 step_c √width. s has no more bits than a float32,
   so that ρ and the products with the centroid are exact in float64.
2. *Tables* of the head: each entry is within half a step of the sum it stands for: tables · Δ / 2,
   times the row's scale.
3. *Values in integer steps*, where all words are read: v = Δ w + ρ with 16-bit w, and the selected
   ρ add up to no more than the positive ones together: Σ max(ρ, 0), times scale. Sums of
   integers are exact.
4. *The other operations* on float32: each of the terms goes through at most 16 roundings, each of
   at most u of itself: two in its value coef · (sigma · q̃), two in the decoding that e_p refers
   to, at most eight in what is done with it; float64 ones on the way are less than another. 16u of
   |⟨q̃, c⟩|, of |ρ| |c|, of scale · (|shift| + Σ|value|), of Σ|q̃_p| e_p, of |δ| · longest and of
   the bias, which is −|y|²/2.
5. *Underflow*: a result below float32's normal range is off by up to 2⁻¹⁴⁹, thousands of such by
   less than 2⁻¹²⁰; that much is added, times scale and once more.
6. *The error of the rotation*: δ = q (I − R Rᵀ) + (qR − q̃) Rᵀ. With D ≥ ‖I − R Rᵀ‖, which
   `orthogonality_defect` computes, ‖R‖² ≤ 1 + D. qR is added up in float64, each entry off by at
   most dim · 2⁻⁵³ of |q| times a column of R, and then rounded to float32, by at most u of itself
   (or 2⁻¹⁵⁰):
   |δ| ≤ |q| D + (1 + D) ((u + dim^1.5 · 2⁻⁵³) |q| + dim · 2⁻¹⁵⁰), up to u of this.
7. *The scores* that hits are ranked by are float64, each within `dim + 8` roundings of 2⁻⁵³ of
   (|q| + longest)² (inner product and distance) or of 1 (cosine).

A bound that overflowed to NaN or infinity drops no row: −∞ none has, as scales of codes that say
next to nothing are 0 (`Codec.encode`). Each allowance is needed, and named below: where it is taken
away, tests see bounds fail.

Queries share the reading of memory: those of a tile all bound a run of blocks while it is in the
cache.
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
from nestvec.kernels.searching import (
    dot,
    fill_tables,
    full_score,
    prefetch_record,
    prefetch_vector,
    word_values,
    write_top_k,
)
from nestvec.kernels.simd import (
    bound_lanes,
    lowest_bit,
    not_below,
    prefetch,
    selected_integer_sum,
)
from nestvec.kernels.tables import wide_table_sums

_U = 2.0**-24
"""Largest relative rounding of one float32 operation: half a unit in the last place."""
ALLOWANCE_QUERY_STEP = 127.0
"""1: the largest entry of an integer centroid."""
ALLOWANCE_TABLE_ENTRY = 0.5
"""2: an entry is rounded to the nearest step."""
ALLOWANCE_VALUE = 1.0
"""3: the positive roundings of values are added in full."""
ALLOWANCE_FLOAT32 = 16 * _U
"""4: sixteen roundings."""
ALLOWANCE_UNDERFLOW = 2.0**-120
"""5: thousands of results below float32's normal range."""
ALLOWANCE_ROTATION = _U
"""6: a rotated query is rounded to float32 once."""
ALLOWANCE_DEFECT = 2.0**-52
"""6: float64 sums, twice their unit of 2⁻⁵³."""
ALLOWANCE_SCORE = 2.0**-52
"""7: float64 sums, twice their unit of 2⁻⁵³."""
_AHEAD = 8
"""Blocks or rows for which memory is asked ahead: about as long as memory takes to answer."""
_TILE = 16
"""Queries that read blocks together: their tables and bounds of cells share the second cache."""
_RUN = 256
"""Blocks that they read at a time: their heads share the cache with the tables."""
_CHUNK = 1024
"""Pending rows that are worth a bound by all words: enough to hide the wait for memory."""


class QueryBounds(NamedTuple):
    """Terms of the upper bounds, for each query of a tile."""

    lengths: np.ndarray  # float64 [tile]
    cell_bounds: np.ndarray  # float32 [tile, cells], on ⟨q̃, c⟩ + |δ| · longest
    weights: np.ndarray  # float32 [tile, PARTS], |q̃_p|
    tables: np.ndarray  # uint8 [tile, 2, head words, 2, 2, 4, 16]
    head_terms: np.ndarray  # float32 [tile, 2], of bounds by heads: shift, step
    values: np.ndarray  # uint8 [tile, 2, words, GROUP], see `selected_integer_sum`
    word_terms: np.ndarray  # float32 [tile, 2], of bounds by all words: shift, step


class Candidates(NamedTuple):
    """Rows of each query of a tile that may still be among its top k."""

    floors: np.ndarray  # float64 [tile], score that a row has to reach
    cutoffs: np.ndarray  # float32 [tile], bound that a row has to reach for that
    n_pending: np.ndarray  # int64 [tile], rows that passed the bound by their heads
    record_ids: np.ndarray  # int64 [tile, 2, size], of these, and their cells
    n_scored: np.ndarray  # int64 [tile], rows scored in full that may be among the best
    values: np.ndarray  # float64 [tile, k + size], their scores
    keys: np.ndarray  # int64 [tile, k + size], their row numbers


class _Run(NamedTuple):
    """Primary blocks from `start`, which is in `cell`, to `stop`."""

    start: int
    stop: int
    cell: int


@kernel
def orthogonality_defect(rotation):
    """Compute an upper bound on ‖I − R Rᵀ‖, allowance for the float64 sums included."""
    dim, lanes = len(rotation), np.empty(8)
    defect, squares = 0.0, 0.0
    for i in range(dim):
        square = dot(rotation[i], rotation[i], lanes)
        squares += square
        defect += (1 - square) ** 2
        for j in range(i):
            defect += 2 * dot(rotation[i], rotation[j], lanes) ** 2
    # Each product is off by dim · 2⁻⁵³ of two rows' lengths: all of them by that of Σ length².
    rounding = dim * ALLOWANCE_DEFECT * (1 + squares)
    return (1 + ALLOWANCE_DEFECT * dim**2) * np.sqrt(defect) + rounding


@kernel
def round_up_float32(value):
    """Return the smallest float32 that is not below the value."""
    narrow = np.float32(value)
    return narrow if np.float64(narrow) >= value else np.nextafter(narrow, np.float32(np.inf))


@kernel
def _rotate_in_float64(query, rotation, sums, rotated):
    """Multiply the query by the rotation in float64 `sums`, and round into float32 `rotated`."""
    sums[:] = 0.0
    for i in range(len(query)):
        entry = np.float64(query[i])
        for j in range(len(sums)):
            sums[j] += entry * np.float64(rotation[i, j])
    for j in range(len(sums)):
        rotated[j] = np.float32(sums[j])


@kernel
def rotation_error_bound(length, dim, rotation_defect):
    """Compute an upper bound on |δ| for a query of this length (allowance 6)."""
    rounding = (ALLOWANCE_ROTATION + dim**1.5 * ALLOWANCE_DEFECT) * length + dim * 2.0**-149
    error = length * rotation_defect + (1 + rotation_defect) * rounding
    return (1 + ALLOWANCE_FLOAT32) * error


@kernel
def _bound_cells(rotated, centroids, steps, entries, products, bounds):
    """Compute upper bounds on ⟨q̃, c⟩ for all cells (allowances 1, 4 and 5).

    `entries` (int8 [2, dim + 3]) and `products` (int32 [2, LANES]) are scratch memory.
    """
    blocks, quads = centroids.shape[:2]
    width = min(4 * quads, len(rotated))
    largest = 0.0
    for i in range(width):
        largest = max(largest, abs(np.float64(rotated[i])))
    coarse = np.float64(round_up_float32(largest / 127))
    fine = coarse / 256
    totals, error = np.zeros(2, np.int64), 0.0
    entries[:] = 0
    for i in range(width if coarse > 0 else 0):
        upper = np.rint(rotated[i] / coarse)
        remainder = rotated[i] - upper * coarse
        lower = min(max(np.rint(remainder / fine), -127.0), 127.0)
        remainder -= lower * fine
        error += remainder * remainder
        entries[0, i], entries[1, i] = np.int8(upper), np.int8(lower)
        totals[0] += np.int64(upper)
        totals[1] += np.int64(lower)
    error = (1 + ALLOWANCE_FLOAT32) * np.sqrt(error) * ALLOWANCE_QUERY_STEP * np.sqrt(width)
    for block in range(blocks):
        byte_products(centroids, block * 64 * quads, entries[0], products[0], quads)
        byte_products(centroids, block * 64 * quads, entries[1], products[1], quads)
        for lane in range(LANES):
            step = np.float64(steps[LANES * block + lane])
            upper_product = products[0, lane] - 128 * totals[0]
            product = fine * (256 * upper_product + products[1, lane] - 128 * totals[1])
            bounds[LANES * block + lane] = step * (product + error)
    for cell in range(len(bounds)):
        bounds[cell] += ALLOWANCE_FLOAT32 * abs(bounds[cell]) + ALLOWANCE_UNDERFLOW


@kernel
def _sum_absolute(values):
    total = 0.0
    for w in range(len(values)):
        for i in range(GROUP):
            total += abs(np.float64(values[w, i]))
    return total


@kernel
def _part_weights(rotated, bounds, weights):
    """Compute |q̃_p| of each part, rounded up to float32 (allowances 4 and 5)."""
    for part in range(PARTS):
        total = 0.0
        for i in range(bounds[part], bounds[part + 1]):
            total += np.float64(rotated[i]) * np.float64(rotated[i])
        norm = (1 + ALLOWANCE_FLOAT32) * np.sqrt(total)
        weights[part] = round_up_float32(norm + ALLOWANCE_UNDERFLOW)


@kernel
def score_cutoff(score, query_length, longest, dim, metric):
    """Compute what ⟨q, y⟩ + bias must reach, in float32, for a score of `score` (allowance 7)."""
    roundings = (dim + 8) * ALLOWANCE_SCORE
    if metric == COSINE:
        required = (score - roundings * (1 + abs(score))) * query_length
        required -= roundings * abs(required)
    else:
        error = roundings * (query_length + longest) ** 2
        required = score - error
        if metric == EUCLIDEAN:
            required = (score + query_length * query_length - 2 * error) / 2
    narrow = np.float32(required)
    return np.nextafter(narrow, np.float32(-np.inf))


@kernel
def _integer_values(table, values):
    """Round a table's float32 values to steps, into the two planes of bytes of `values`.

    Returns the step and what rounding may have taken off a sum of any of them (allowance 3).
    """
    # So few steps that no sum of them is beyond 32 bits.
    limit = min(32767, (2**31 - 1) // table.size)
    largest = 0.0
    for w in range(len(table)):
        for i in range(GROUP):
            largest = max(largest, abs(np.float64(table[w, i])))
    step, error = largest / limit, 0.0
    for w in range(len(table)):
        for i in range(GROUP):
            value = np.float64(table[w, i])
            n_steps = np.rint(value / step) if step > 0 else 0.0
            n_steps = min(max(n_steps, -np.float64(limit)), np.float64(limit))
            error += max(value - step * n_steps, 0.0)
            number = np.int64(n_steps)
            values[0, w, i] = np.uint8(number & 255)
            values[1, w, i] = np.uint8((number >> 8) & 255)
    return step, ALLOWANCE_VALUE * error


@kernel
def _stage_values(rotated, sigma, funnel, stage, table):
    """Compute the values of a stage's words into `table`; returns the shift and Σ|value|."""
    words = slice(funnel.starts[stage], funnel.starts[stage + 1])
    shift = word_values(
        rotated, sigma, len(rotated), funnel.groups[words], funnel.coefficients[words], table
    )
    return shift, _sum_absolute(table)


@kernel
def _head_terms(rotated, sigma, funnel, table, sums, tables, terms):
    """Compute the terms of bounds by heads into `tables` and `terms` (allowances 2, 4 and 5)."""
    shift, total = _stage_values(rotated, sigma, funnel, 0, table)
    step, low = fill_tables(table, WIDE, sums, tables)
    error = 16 * len(table) * step * (ALLOWANCE_TABLE_ENTRY + ALLOWANCE_FLOAT32 * WIDE)
    error += ALLOWANCE_FLOAT32 * (total + abs(shift + low)) + ALLOWANCE_UNDERFLOW
    terms[0], terms[1] = round_up_float32(shift + low + error), np.float32(step)


@kernel
def _word_terms(rotated, sigma, funnel, table, values, terms):
    """Compute the terms of bounds by all words into `values` and `terms` (allowances 3 to 5)."""
    shift, total = _stage_values(rotated, sigma, funnel, 1, table)
    step, error = _integer_values(table, values)
    error += ALLOWANCE_FLOAT32 * (total + abs(shift) + error) + ALLOWANCE_UNDERFLOW
    terms[0], terms[1] = round_up_float32(shift + error), np.float32(step)


@kernel
def prepare_bounds(queries, cells, bounds, metric, query_bounds):
    """Compute the terms of the bounds of some queries into `query_bounds`."""
    funnel, longest, rotation, sigma = bounds.funnel, bounds.longest, cells.rotation, cells.sigma
    centroids, steps, parts = cells.centroids, cells.steps, bounds.part_bounds
    dim, words = queries.shape[1], funnel.starts[1]
    sums, rotated, lanes = np.empty(dim), np.empty(dim, np.float32), np.empty(8)
    entries, products = np.empty((2, dim + 3), np.int8), np.empty((2, LANES), np.int32)
    cell_bounds, table_sums = np.empty(len(steps)), np.empty((16 * words, 16))
    table = np.empty((funnel.starts[2], GROUP), np.float32)
    for t in range(len(queries)):
        length = np.sqrt(dot(queries[t], queries[t], lanes))
        _rotate_in_float64(queries[t], rotation, sums, rotated)
        error = rotation_error_bound(length, dim, bounds.rotation_defect)
        extra = (1 + ALLOWANCE_FLOAT32) * longest * error
        if metric == EUCLIDEAN:
            extra += ALLOWANCE_FLOAT32 * longest * longest
        _bound_cells(rotated, centroids, steps, entries, products, cell_bounds)
        for cell in range(query_bounds.cell_bounds.shape[1]):
            query_bounds.cell_bounds[t, cell] = np.float32(cell_bounds[cell] + extra)
        _part_weights(rotated, parts, query_bounds.weights[t])
        _head_terms(
            rotated, sigma, funnel, table[:words], table_sums, query_bounds.tables[t],
            query_bounds.head_terms[t],
        )  # fmt: skip
        _word_terms(
            rotated, sigma, funnel, table[words:], query_bounds.values[t],
            query_bounds.word_terms[t],
        )  # fmt: skip
        query_bounds.lengths[t] = length


@kernel
def bound_by_heads(cells, run, word_slots, query_bounds, t, cutoff, out):
    """Find the primary rows in a run of blocks whose bound by their heads reaches the cutoff.

    Their lanes in each block, as bits, and its cell go into `out` [2, blocks]. Nothing branches on
    a bound: a branch taken wrongly costs more than bounding two blocks.
    """
    sums, bounds = np.empty(LANES, np.int32), np.empty(LANES, np.float32)
    head, scale, bias, errors = cells.head, cells.scale, cells.bias, cells.head_errors
    starts, counts, size, words = cells.starts, cells.counts, head.shape[1] * LANES, len(word_slots)
    tables, weights = query_bounds.tables[t], query_bounds.weights[t]
    cell_bounds, cell = query_bounds.cell_bounds[t], run.cell
    shift, step = query_bounds.head_terms[t]
    for block in range(run.start, run.stop):
        while starts[cell + 1] <= block:
            cell += 1
        for byte in range(0, size, 64):
            prefetch(head, (block + _AHEAD) * size + byte)
        wide_table_sums(head, block * size, tables, word_slots, sums, words)
        bound_lanes(sums, scale, errors, block, (cell_bounds[cell], shift, step), weights, bounds)
        if len(bias):
            for lane in range(LANES):
                bounds[lane] += bias[block * LANES + lane]
        # Behind the primary rows of the cell lie spilled ones.
        n_primary = min(counts[cell] - (block - starts[cell]) * LANES, LANES)
        out[0, block - run.start] = not_below(bounds, 0, cutoff) & ((1 << n_primary) - 1)
        out[1, block - run.start] = cell


@kernel
def collect_pending(starts, row_offsets, run, passed, record_ids, n_pending):
    """Append the record ids of the rows that passed, and their cells; returns their number.

    `passed` is the result of `bound_by_heads`; `record_ids` has `n_pending` entries before.
    """
    for block in range(run.start, run.stop):
        bits, cell = passed[0, block - run.start], passed[1, block - run.start]
        first = row_offsets[cell] + (block - starts[cell]) * LANES
        while bits:
            record_ids[0, n_pending], record_ids[1, n_pending] = first + lowest_bit(bits), cell
            n_pending += 1
            bits &= bits - 1
    return n_pending


@kernel
def bound_by_all_words(cells, word_slots, query_bounds, candidates, t, allowed, n, out):
    """List the pending rows whose bound by all words reaches the cutoff; returns their number."""
    records, floats, ints = cells.records, cells.record_floats, cells.record_ints
    record_ids, n_pending = candidates.record_ids[t], candidates.n_pending[t]
    cell_bounds, weights = query_bounds.cell_bounds[t], query_bounds.weights[t]
    values, cutoff = query_bounds.values[t], candidates.cutoffs[t]
    shift, step = query_bounds.word_terms[t]
    width, words = records.shape[1], len(word_slots)
    end, count = 2 * width, 0
    for i in range(n_pending):
        prefetch_record(records, record_ids[0, min(i + _AHEAD, n_pending - 1)])
        record_id = record_ids[0, i]
        row = ints[record_id, end + ROW]
        if not 0 <= row < n:
            raise IndexError("a record names a row that there is not")
        total = np.float32(
            selected_integer_sum(records, record_id * width, word_slots, values, words)
        )
        bound = cell_bounds[record_ids[1, i]]
        bound += floats[record_id, end + SCALE] * (shift + step * total)
        for part in range(PARTS):
            bound += weights[part] * floats[record_id, end + ERRORS + part]
        bound += floats[record_id, end + BIAS]
        out[count] = row
        count += (not bound < cutoff) & (len(allowed) == 0 or allowed[row] == 1)
    return count


@kernel
def _score_candidates(query, vectors, metric, rows, count, candidates, t, length):
    """Append the first `count` of `rows` whose full score reaches the floor; returns the number."""
    lanes, floor, n_scored = np.empty(8), candidates.floors[t], candidates.n_scored[t]
    values, keys = candidates.values[t], candidates.keys[t]
    for i in range(min(_AHEAD, count)):
        prefetch_vector(vectors, rows[i])
    for i in range(count):
        prefetch_vector(vectors, rows[min(i + _AHEAD, count - 1)])
        values[n_scored] = full_score(query, length, vectors[rows[i]], metric, lanes)
        keys[n_scored] = rows[i]
        n_scored += values[n_scored] >= floor
    return n_scored


@kernel
def refine_candidates(
    query, t, segment, word_slots, query_bounds, candidates, longest, options, rows, counts
):
    """Bound the pending rows by all words, score those that remain, and keep the best `k`.

    The k-th best score becomes the floor. `rows` is scratch memory.
    """
    vectors, metric, k = segment.vectors, options.metric, options.k
    count = bound_by_all_words(
        segment.cells, word_slots, query_bounds, candidates, t, options.allowed, len(vectors), rows
    )
    counts[1] += candidates.n_pending[t]
    counts[2] += count
    length, values = query_bounds.lengths[t], candidates.values[t]
    n_scored = _score_candidates(query, vectors, metric, rows, count, candidates, t, length)
    if n_scored > k:
        select(values, candidates.keys[t], n_scored, k)
        n_scored = k
    if n_scored == k:
        candidates.floors[t] = max(candidates.floors[t], values[:k].min())
        candidates.cutoffs[t] = score_cutoff(
            candidates.floors[t], length, longest, len(query), metric
        )
    candidates.n_scored[t], candidates.n_pending[t] = n_scored, 0


@kernel
def records_between(starts, counts, run):
    """Count the primary rows in a run of blocks."""
    total, cell = 0, run.cell
    while cell < len(counts) and starts[cell] < run.stop:
        skipped = LANES * max(run.start - starts[cell], 0)
        total += min(LANES * (run.stop - starts[cell]), counts[cell]) - skipped
        cell += 1
    return total


@kernel
def _search_tile(
    queries, floors, segment, bounds, options, max_above_floor, query_bounds, candidates, counts
):
    """Find the exact top k of the queries of a tile, into `candidates`."""
    cells, funnel, longest, k = segment.cells, bounds.funnel, bounds.longest, options.k
    words, dim = funnel.starts[1], queries.shape[1]
    head_slots, word_slots = funnel.head_word_slots[:words], funnel.word_slots[words:]
    passed = np.empty((2, _RUN), np.int64)
    rows = np.empty(candidates.record_ids.shape[2], np.int64)
    starts, row_offsets, n_primary = cells.starts, cells.row_offsets, cells.counts
    cell, blocks = 0, starts[-1]
    for t in range(len(queries)):
        candidates.floors[t], candidates.n_scored[t], candidates.n_pending[t] = floors[t], 0, 0
        candidates.cutoffs[t] = score_cutoff(
            floors[t], query_bounds.lengths[t], longest, dim, options.metric
        )
    for start in range(0, blocks, _RUN):
        while starts[cell + 1] <= start:
            cell += 1
        run = _Run(start, min(start + _RUN, blocks), cell)
        n_rows = records_between(starts, n_primary, run)
        for t in range(len(queries)):
            if counts[t, 3]:
                continue
            bound_by_heads(cells, run, head_slots, query_bounds, t, candidates.cutoffs[t], passed)
            candidates.n_pending[t] = collect_pending(
                starts, row_offsets, run, passed, candidates.record_ids[t], candidates.n_pending[t]
            )
            counts[t, 0] += n_rows
            if candidates.n_pending[t] >= _CHUNK or run.stop == blocks:
                refine_candidates(
                    queries[t], t, segment, word_slots, query_bounds, candidates, longest, options,
                    rows, counts[t],
                )  # fmt: skip
                n_above = np.sum(candidates.values[t, : candidates.n_scored[t]] > floors[t])
                counts[t, 3] = max_above_floor < k and n_above > max_above_floor


@kernel
def exact_batch(queries, floors, segment, bounds, options, max_above_floor, out):
    """Compute `reference.exact_batch` with fewer full scores: bounds leave rows out."""
    cells, funnel, k = segment.cells, bounds.funnel, options.k
    tile, words = max(1, min(_TILE, len(queries))), funnel.starts[1]
    n_words, size = funnel.starts[2] - words, _CHUNK + _RUN * LANES
    query_bounds = QueryBounds(
        np.empty(tile), np.empty((tile, len(cells.counts)), np.float32),
        np.empty((tile, PARTS), np.float32), np.empty((tile, 2, words, 2, 2, 4, 16), np.uint8),
        np.empty((tile, 2), np.float32), np.empty((tile, 2, n_words, GROUP), np.uint8),
        np.empty((tile, 2), np.float32),
    )  # fmt: skip
    candidates = Candidates(
        np.empty(tile), np.empty(tile, np.float32), np.empty(tile, np.int64),
        np.empty((tile, 2, size), np.int64), np.empty(tile, np.int64), np.empty((tile, k + size)),
        np.empty((tile, k + size), np.int64),
    )  # fmt: skip
    out.counts[:] = 0
    for start in range(0, len(queries), tile):
        part = slice(start, min(start + tile, len(queries)))
        prepare_bounds(queries[part], cells, bounds, options.metric, query_bounds)
        _search_tile(
            queries[part], floors[part], segment, bounds, options, max_above_floor, query_bounds,
            candidates, out.counts[part],
        )  # fmt: skip
        for q in range(part.start, part.stop):
            t = q - start
            write_top_k(
                candidates.n_scored[t], k, candidates.values[t], candidates.keys[t], out.rows[q],
                out.scores[q],
            )  # fmt: skip


@kernel
def scan_batch(queries, vectors, candidates, metric, k, out):
    """Compute `reference.scan_batch`."""
    lanes, width = np.empty(8), vectors.shape[1]
    # Twice k, so that a selection pays for k scores; 64 more, as it costs as much for few.
    values, keys = np.empty(2 * k + 64), np.empty(2 * k + 64, np.int64)
    out.counts[:] = len(candidates)
    for q in range(len(queries)):
        length = np.sqrt(dot(queries[q], queries[q], lanes))
        n_scored, floor = 0, -np.inf
        for i in range(len(candidates)):
            row = candidates[i]
            if i + 2 < len(candidates):
                for d in range(0, width, 16):
                    prefetch(vectors, candidates[i + 2] * width + d)
            score = full_score(queries[q], length, vectors[row], metric, lanes)
            if score >= floor:
                values[n_scored], keys[n_scored] = score, row
                n_scored += 1
            if n_scored == len(values):
                select(values, keys, n_scored, k)
                n_scored, floor = k, values[:k].min()
        write_top_k(n_scored, k, values, keys, out.rows[q], out.scores[q])
