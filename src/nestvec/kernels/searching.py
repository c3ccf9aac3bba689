"""Compiled search of a coded segment by a plan: `reference.search_one` for many queries."""

from typing import NamedTuple

import numpy as np

from nestvec.kernels.backend import TopK
from nestvec.kernels.block_filter import HeadArrays
from nestvec.kernels.dense import (
    CellArrays,
    RoundedQuery,
    product_sums,
    score_block,
    square_sums,
    weighted_rows,
    weighted_wide_rows,
)
from nestvec.kernels.jit import kernel
from nestvec.kernels.layout import (
    BIAS,
    CELL,
    COSINE,
    EUCLIDEAN,
    GROUP,
    LANES,
    NARROW,
    ROW,
    SCALE,
    SPREAD_WEIGHT,
    WIDE,
)
from nestvec.kernels.ranking import deduplicate, probe_cells, select, select_float32, sort
from nestvec.kernels.scanning import TableTerms, Visits, is_allowed, scan_heads
from nestvec.kernels.simd import prefetch, selected_sum
from nestvec.kernels.tables import nibble_sums, store_table_entries

_RECORDS_AHEAD, _VECTORS_AHEAD = 8, 3
"""Rows for which memory is asked ahead: a vector is many cache lines, a record a few."""
TILE, _TILE_CELLS = 256, 2**21
"""Most queries that are searched together, and most scores of cells that they have.

More queries share the reading of a cell hardly better; the scores take 8 MiB.
"""


class _Scratch(NamedTuple):
    """Memory for the queries of a tile; `width` candidates each."""

    rotated: np.ndarray  # float32 [tile, width of sigma]
    scores: np.ndarray  # float32 [tile, cells and lanes that fill the last block]
    probed: np.ndarray  # int32, of the same shape: probed cells come first
    n_probed: np.ndarray  # int64 [tile]
    values: np.ndarray  # float32 [tile, width]
    keys: np.ndarray  # int32 [tile, width]
    n_candidates: np.ndarray  # int64 [tile]
    full_scores: np.ndarray  # float64 [width]
    rows: np.ndarray  # int64 [width]


@kernel
def rotate(query, rotation, rotated):
    """Compute `reference.rotate` into `rotated`, which may be narrower than the rotation."""
    wide = len(rotated) // 256 * 256
    grouped = len(rotated) // GROUP * GROUP
    for column in range(0, wide, 256):
        weighted_wide_rows(query, rotation, rotation.shape[1], rotated, column, len(query))
    for column in range(wide, grouped, GROUP):
        weighted_rows(query, rotation, rotation.shape[1], rotated, column, len(query))
    rotated[grouped:] = 0
    for i in range(len(query)):
        for j in range(grouped, len(rotated)):
            rotated[j] += query[i] * rotation[i, j]


@kernel
def score_cells(rotated, sigma, arrays, entries, scores, ranks):
    """Compute `reference.score_cells` into `scores` and `ranks`, which are as long as `steps`.

    `arrays` are `CellArrays`; `entries` is int8 scratch memory for the query.
    """
    blocks, quads = arrays.centroids.shape[:2]
    width = min(4 * quads, len(rotated))
    largest = np.float32(0)
    for i in range(width):
        largest = max(largest, abs(rotated[i]))
    step = largest / np.float32(127)
    total = np.int32(0)
    entries[:] = 0
    for i in range(width):
        n_steps = np.rint(rotated[i] / step) if step > 0 else np.float32(0)
        entries[i] = np.int8(min(max(n_steps, np.float32(-127)), np.float32(127)))
        total += entries[i]
    variance = 0.0
    for i in range(len(rotated)):
        scaled = np.float64(rotated[i]) * np.float64(sigma[i])
        variance += scaled * scaled
    weight = np.float32(SPREAD_WEIGHT * np.sqrt(variance))
    query = RoundedQuery(128 * np.int64(total), step, weight)
    for block in range(blocks):
        score_block(arrays, block, quads, entries, query, scores, ranks)


@kernel
def word_values(rotated, sigma, dims, groups, coefficients, values):
    """Compute `reference.word_values` into `values` [words, 64]; returns their `shift_of`."""
    total, stop = 0.0, min(dims, len(rotated))
    for w in range(len(groups)):
        start = GROUP * groups[w]
        for i in range(GROUP):
            if start + i < stop:
                values[w, i] = coefficients[w] * (sigma[start + i] * rotated[start + i])
            else:
                values[w, i] = np.float32(0)
            total += np.float64(values[w, i])
    return -0.5 * total


@kernel
def fill_tables(values, largest, sums, out):
    """Compute `reference.lookup_tables` into `out` [planes, words, half, nibble, byte, entry].

    `out` is uint8; `sums` is float64 scratch memory [words · 16, 16]. Returns the step and the sum
    of all least sums.
    """
    words = len(values)
    shift, step = 0.0, 0.0
    for index in range(16 * words):
        lowest, highest = nibble_sums(values, index, sums)
        shift += lowest
        step = max(step, highest - lowest)
    step /= largest
    if not step > 0:
        out[:] = 0
        return step, 0.0
    for index in range(16 * words):
        half, byte, nibble = index // 8, index // 2 % 4, index % 2
        lower = 128 * half + 64 * nibble + 16 * byte
        upper = 256 * words + lower if largest == WIDE else 0
        store_table_entries(sums, index, step, largest, out, lower, upper)
    return step, shift


@kernel
def dot(left, right, lanes):
    """Compute `reference.dot`; `lanes` is scratch memory for 8 float64 sums."""
    start = len(left) // 8 * 8
    product_sums(left, right, start // 8, lanes)
    for i in range(start, len(left)):
        lanes[i - start] += np.float64(left[i]) * np.float64(right[i])
    total = 0.0
    for lane in range(8):
        total += lanes[lane]
    return total


@kernel
def squared_distance(a, b, lanes):
    """Compute `reference.squared_distance`; `lanes` is scratch memory for 8 float64 sums."""
    start = len(a) // 8 * 8
    square_sums(a, b, start // 8, lanes)
    for i in range(start, len(a)):
        difference = np.float64(a[i]) - np.float64(b[i])
        lanes[i - start] += difference * difference
    total = 0.0
    for lane in range(8):
        total += lanes[lane]
    return total


@kernel
def full_score(query, length, row, metric, lanes):
    """Compute `reference.full_score`; `length` is √dot(query, query)."""
    if metric == EUCLIDEAN:
        return -squared_distance(query, row, lanes)
    product = dot(query, row, lanes)
    if metric == COSINE:
        lengths = length * np.sqrt(dot(row, row, lanes))
        return product / lengths if lengths > 0 else 0.0
    return product


@kernel
def prefetch_vector(vectors, row):
    """Ask for all cache lines of a row."""
    for d in range(0, vectors.shape[1], 16):
        prefetch(vectors, row * vectors.shape[1] + d)


@kernel
def prefetch_record(records, record_id):
    """Ask for all cache lines of a record."""
    width = records.shape[1]
    for w in range(0, width, 8):
        prefetch(records, record_id * width + w)
    prefetch(records, record_id * width + width - 1)


@kernel
def score_rows(query, vectors, metric, count, rows, scores):
    """Compute the full scores of the first `count` of `rows` into `scores`."""
    lanes = np.empty(8, np.float64)
    length = np.sqrt(dot(query, query, lanes))
    for i in range(min(_VECTORS_AHEAD, count)):
        prefetch_vector(vectors, rows[i])
    for i in range(count):
        if i + _VECTORS_AHEAD < count:
            prefetch_vector(vectors, rows[i + _VECTORS_AHEAD])
        scores[i] = full_score(query, length, vectors[rows[i]], metric, lanes)


@kernel
def records_of_cells(probed, row_offsets, record_ints, allowed, keys):
    """List the record ids of the allowed primary rows of the probed cells; returns their number."""
    count, row = 0, record_ints.shape[1] + ROW
    for cell in probed:
        for record_id in range(row_offsets[cell], row_offsets[cell + 1]):
            keys[count] = record_id
            count += len(allowed) == 0 or is_allowed(allowed, record_ints[record_id, row])
    return count


@kernel
def _sum_counts(probed, counts):
    total = 0
    for cell in probed:
        total += counts[cell]
    return total


@kernel
def estimate_records(count, scores, cells, word_slots, values_of_words, shift, values, keys):
    """Estimate the scores of the first `count` record ids in `keys` from some of their words.

    `scores` are those of the cells; `values_of_words` and `shift` are `word_values`.
    """
    records, record_floats, record_ints = cells.records, cells.record_floats, cells.record_ints
    width, end = records.shape[1], record_ints.shape[1]
    for i in range(min(_RECORDS_AHEAD, count)):
        prefetch_record(records, keys[i])
    for i in range(count):
        if i + _RECORDS_AHEAD < count:
            prefetch_record(records, keys[i + _RECORDS_AHEAD])
        record_id = np.int64(keys[i])
        total = selected_sum(
            records, record_id * width, word_slots, values_of_words, len(word_slots)
        )
        cell = record_ints[record_id, end + CELL]
        if not 0 <= cell < len(scores):
            raise IndexError("a record names a cell that there is not")
        estimate = scores[cell] + record_floats[record_id, end + SCALE] * (shift + total)
        values[i] = estimate + record_floats[record_id, end + BIAS]


@kernel
def _probe_cells(queries, cells, probe, k, scratch):
    """Rotate the queries, score all cells for each of them, and choose the cells to probe."""
    count, dim = len(cells.counts), queries.shape[1]
    entries, ranks = np.empty(dim + 3, np.int8), np.empty(len(cells.steps), np.float32)
    values = np.empty(scratch.probed.shape[1], np.float32)
    arrays = CellArrays(cells.centroids, cells.steps, cells.priors, cells.spreads)
    counts, sigma, rotation = cells.counts, cells.sigma, cells.rotation
    for q in range(len(queries)):
        rotate(queries[q], rotation, scratch.rotated[q])
        score_cells(scratch.rotated[q], sigma, arrays, entries, scratch.scores[q], ranks)
        scratch.n_probed[q] = probe_cells(
            ranks[:count], counts, probe, k, values, scratch.probed[q]
        )


@kernel
def _group_by_cell(probed, n_probed, count):
    """Group the queries of a tile by the cells that they probe.

    A single query visits its cells best first; several share the reading of each cell.
    """
    if len(n_probed) == 1:
        n = n_probed[0]
        return Visits(probed[0, :n], np.arange(n + 1), np.zeros(n, np.int32))
    ends = np.zeros(count + 1, np.int64)
    for q in range(len(n_probed)):
        for i in range(n_probed[q]):
            ends[probed[q, i] + 1] += 1
    visited = 0
    visits, starts = np.empty(count, np.int32), np.empty(count + 1, np.int64)
    for cell in range(count):
        visits[visited], starts[visited] = cell, ends[cell]
        visited += ends[cell + 1] > 0
        ends[cell + 1] += ends[cell]
    starts[visited] = ends[count]
    queries = np.empty(ends[count], np.int32)
    for q in range(len(n_probed)):
        for i in range(n_probed[q]):
            cell = probed[q, i]
            queries[ends[cell]] = q
            ends[cell] += 1
    return Visits(visits[:visited], starts[: visited + 1], queries)


@kernel
def _run_head_stage(size, cells, funnel, allowed, scratch, counts):
    """Run the first stage of the `size` queries of a tile by heads.

    The best candidates of each query come to the front of `scratch`.
    """
    words, keep = funnel.starts[1], funnel.keep[0]
    groups, word_slots = funnel.groups[:words], funnel.head_word_slots[:words]
    coefficients, dims, sigma = funnel.coefficients[:words], funnel.dims[0], cells.sigma
    n_primary, n_spilled = cells.counts, cells.spill_counts
    word_table, sums = np.empty((words, GROUP), np.float32), np.empty((16 * words, 16))
    tables = np.empty((size, words, 2, 2, 4, 16), np.uint8)
    shifts, steps = np.empty(size, np.float32), np.empty(size, np.float32)
    values, keys, n_candidates = scratch.values, scratch.keys, scratch.n_candidates
    total_spilled = 0
    for q in range(size):
        shift = word_values(scratch.rotated[q], sigma, dims, groups, coefficients, word_table)
        step, low = fill_tables(word_table, NARROW, sums, tables[q : q + 1])
        shifts[q], steps[q] = shift + low, step
        probed = scratch.probed[q, : scratch.n_probed[q]]
        spilled = _sum_counts(probed, n_spilled)
        counts[q, 1] = _sum_counts(probed, n_primary) + spilled
        total_spilled += spilled
    # A row may occur in two cells: the best of twice as many are enough.
    keep_entries = 2 * keep if total_spilled else keep
    visits = _group_by_cell(scratch.probed, scratch.n_probed[:size], len(n_primary))
    arrays = HeadArrays(
        cells.head, cells.scale, cells.bias, cells.spill_record_ids, tables.reshape(-1), word_slots
    )
    scan_heads(
        visits, scratch.scores, cells, allowed, arrays, TableTerms(shifts, steps), keep_entries,
        values, keys, n_candidates[:size],
    )  # fmt: skip
    hash_table = np.full(_hash_table_size(keep_entries if total_spilled else 0), -1, np.int64)
    for q in range(size):
        if total_spilled:
            n_candidates[q] = deduplicate(values[q], keys[q], n_candidates[q], hash_table)
        n_candidates[q], _ = select_float32(values[q], keys[q], 0, n_candidates[q], keep)


@kernel
def refine_stages(rotated, scores, cells, funnel, first_stage, count, values, keys, counts):
    """Run the stages from `first_stage` on for one query, and return its number of candidates.

    The first `count` of `keys` are the candidates before.
    """
    sigma = cells.sigma
    word_table = np.empty((max(1, len(funnel.word_slots)), GROUP), np.float32)
    for stage in range(first_stage, len(funnel.keep)):
        words = slice(funnel.starts[stage], funnel.starts[stage + 1])
        word_slots, table = funnel.word_slots[words], word_table[: words.stop - words.start]
        shift = word_values(
            rotated, sigma, funnel.dims[stage], funnel.groups[words], funnel.coefficients[words],
            table,
        )  # fmt: skip
        if stage:
            counts[1 + stage] = count
        estimate_records(count, scores, cells, word_slots, table, np.float32(shift), values, keys)
        count, _ = select_float32(values, keys, 0, count, funnel.keep[stage])
    return count


@kernel
def rows_of_records(record_ids, record_ints, rows):
    """Look up the rows that records name."""
    place, n = record_ints.shape[1] + ROW, len(record_ints)
    for i in range(len(record_ids)):
        rows[i] = record_ints[record_ids[i], place]
        if not 0 <= rows[i] < n:
            raise IndexError("a record names a row that there is not")


@kernel
def _search_tile(queries, segment, plan, options, scratch, out):
    """Search for the queries of a tile, which share the reading of cells."""
    cells, vectors, funnel, full = segment.cells, segment.vectors, plan.funnel, plan.full
    allowed, metric, k = options.allowed, options.metric, options.k
    stages, by_tables = len(funnel.keep), uses_head_tables(funnel)
    row_offsets, n_primary, record_ints = cells.row_offsets, cells.counts, cells.record_ints
    _probe_cells(queries, cells, plan.probe, k, scratch)
    for q in range(len(queries)):
        out.counts[q, 0], scratch.n_candidates[q] = scratch.n_probed[q], 0
    if by_tables:
        _run_head_stage(len(queries), cells, funnel, allowed, scratch, out.counts)
    for q in range(len(queries)):
        values, keys, counts = scratch.values[q], scratch.keys[q], out.counts[q]
        count = scratch.n_candidates[q]
        if not by_tables:
            probed = scratch.probed[q, : scratch.n_probed[q]]
            count = records_of_cells(probed, row_offsets, record_ints, allowed, keys)
            if stages:
                counts[1] = _sum_counts(probed, n_primary)
        count = refine_stages(
            scratch.rotated[q], scratch.scores[q], cells, funnel, 1 if by_tables else 0, count,
            values, keys, counts,
        )  # fmt: skip
        rows_of_records(keys[:count], record_ints, scratch.rows)
        if full:
            counts[1 + stages] = count
            score_rows(queries[q], vectors, metric, count, scratch.rows, scratch.full_scores)
        else:
            for i in range(count):
                scratch.full_scores[i] = values[i] if stages else 0.0
        write_top_k(count, k, scratch.full_scores, scratch.rows, out.rows[q], out.scores[q])


@kernel
def uses_head_tables(funnel):
    """Check that the first stage reads head words only, and so by tables."""
    n_outside = 0
    for word in range(funnel.starts[1] if len(funnel.keep) else 0):
        n_outside += funnel.head_word_slots[word] < 0
    return len(funnel.keep) > 0 and n_outside == 0


@kernel
def search_batch(queries, segment, plan, options, out):
    """Compute `reference.search_batch`."""
    cells, funnel = segment.cells, plan.funnel
    n, padded, by_tables = len(cells.records), len(cells.steps), uses_head_tables(funnel)
    width, tile = max(options.k, n), 1
    if by_tables:
        # Space for as many again as stay, so that the threshold is renewed by whole buffers.
        width = 4 * funnel.keep[0] + 16 * LANES
        tile = max(1, min(len(queries), TILE, _TILE_CELLS // max(1, padded)))
    width += -width % LANES + LANES
    scratch = _Scratch(
        np.empty((tile, len(cells.sigma)), np.float32), np.empty((tile, padded), np.float32),
        np.empty((tile, padded), np.int32), np.empty(tile, np.int64),
        np.empty((tile, width), np.float32), np.empty((tile, width), np.int32),
        np.empty(tile, np.int64), np.empty(width), np.empty(width, np.int64),
    )  # fmt: skip
    out.counts[:] = 0
    for start in range(0, len(queries), tile):
        part = slice(start, min(start + tile, len(queries)))
        tile_out = TopK(out.rows[part], out.scores[part], out.counts[part])
        _search_tile(queries[part], segment, plan, options, scratch, tile_out)


@kernel
def _hash_table_size(count):
    size = 64
    while size < 2 * count:
        size *= 2
    return size


@kernel
def write_top_k(count, k, values, keys, rows, scores):
    """Write the best `k` of `count` rows, best first; row −1 and score −inf fill up."""
    select(values, keys, count, k)
    n_hits = min(count, k)
    sort(values, keys, n_hits)
    for i in range(k):
        rows[i], scores[i] = -1, -np.inf
    for i in range(n_hits):
        rows[i], scores[i] = keys[i], values[i]
