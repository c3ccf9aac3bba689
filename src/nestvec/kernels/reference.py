"""The kernels in plain NumPy, as definitions: tests hold every other backend to them bit by bit.

A stage reads a subset of the words. Dimension i of word w stands for `value[w, i]`, the product of
the word's coefficient, the dimension's spread and the query; a row's estimate is

    cell_score + scale[row] · (shift + Σ_w Σ_i bit[w, i] · value[w, i]) + bias[row]

Where every probed row is read, the values of four dimensions at a time become a table of the 16
sums they can make, each rounded to an integer number of steps from 0 to 127 (or 16,383:
`lookup_tables`). Sums of table entries are integers, so no order of addition matters. Where few
rows are read, the sum is float32, in the order that `selected_sum` states. All backends round
alike: equal to the last bit.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from nestvec.kernels.backend import (
    SearchOptions,
    SegmentArrays,
    SegmentBounds,
    SegmentPlan,
    TopK,
)
from nestvec.kernels.layout import (
    EUCLIDEAN,
    GROUP,
    IP,
    LANES,
    NARROW,
    SOAR_WEIGHT,
    SPREAD_WEIGHT,
    Cells,
    Funnel,
    integer_centroids,
    record_ids_of,
    slots_of,
)
from nestvec.shapes import Bool, Float32, Float64, Int64, UInt8, UInt16, UInt64


def pack(record: Any) -> Any:
    """Return the named tuple itself: NumPy reads its arrays where they are."""
    return record


def pack_words(
    codes: UInt8[np.ndarray, "n dim"],
    groups: Int64[np.ndarray, " w"],
    shifts: Int64[np.ndarray, " w"],
) -> UInt64[np.ndarray, "n w"]:
    """Collect bit `shifts[w]` of the codes in group `groups[w]` in word w, lowest dim first."""
    n, dim = codes.shape
    padded = np.zeros((n, -(-dim // GROUP) * GROUP), np.uint8)
    padded[:, :dim] = codes
    words = np.empty((n, len(groups)), np.uint64)
    for w, (group, shift) in enumerate(zip(groups, shifts, strict=True)):
        bits = (padded[:, GROUP * group : GROUP * (group + 1)] >> shift) & 1
        packed = np.packbits(bits, axis=1, bitorder="little")
        words[:, w] = np.ascontiguousarray(packed).view("<u8")[:, 0]
    return words


def quantize_residuals(
    residuals: Float32[np.ndarray, "n dim"],
    norms: Float32[np.ndarray, " n"],
    sigma: Float32[np.ndarray, " dim"],
    steps: Float32[np.ndarray, " dim"],
    levels: Int64[np.ndarray, " dim"],
) -> UInt8[np.ndarray, "n dim"]:
    """Quantise `residual / (norm · sigma)` to 0..levels−1, in intervals of width `steps`.

    The middle of the code range is zero; values beyond the outer intervals go to these. A zero
    norm or sigma gives the code just above zero.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = residuals / (norms[:, None] * (sigma * steps))
    finite = np.where(np.isfinite(unit), unit, np.float32(0))
    half = (levels // 2).astype(np.float32)
    code = np.floor(finite) + half
    return np.clip(code, 0, np.maximum(levels - 1, 0)).astype(np.uint8)


def part_norms(
    values: Float64[np.ndarray, "n dim"], bounds: Int64[np.ndarray, " bounds"]
) -> Float64[np.ndarray, "n parts"]:
    """Compute the Euclidean norms of the parts of each row."""
    squares = [np.square(values[:, a:b]).sum(axis=1) for a, b in pairwise(bounds)]
    return np.asarray(np.sqrt(np.stack(squares, axis=1)))


def float32_up(values: Float64[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Return the smallest float32 that is not below each (non-negative, finite) value."""
    narrow = values.astype(np.float32)
    higher = np.nextafter(narrow, np.float32(np.inf))
    return np.asarray(np.where(narrow < values, higher, narrow), np.float32)


def bfloat16_up(values: Float64[np.ndarray, "*shape"]) -> UInt16[np.ndarray, "*shape"]:
    """Return the bits of the smallest bfloat16 that is not below each value."""
    bits = np.ascontiguousarray(float32_up(values)).view(np.uint32).astype(np.uint64)
    return ((bits + 0xFFFF) >> 16).astype(np.uint16)


def from_bfloat16(bits: UInt16[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Return the numbers whose bits these are: the upper halves of float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def decode(
    codes: UInt8[np.ndarray, "n dim"],
    values: Float32[np.ndarray, "groups 256"],
    sigma: Float32[np.ndarray, " dim"],
) -> Float32[np.ndarray, "n dim"]:
    """Decode codes: the `values` of the dimension's group, times its spread."""
    groups = np.arange(codes.shape[1]) // GROUP
    return np.asarray(values[groups, codes] * sigma, np.float32)


def inner_with_decoded(
    residuals: Float32[np.ndarray, "n dim"],
    codes: UInt8[np.ndarray, "n dim"],
    values: Float32[np.ndarray, "groups 256"],
    sigma: Float32[np.ndarray, " dim"],
) -> Float64[np.ndarray, " n"]:
    """Compute ⟨residual, decoded⟩ per row, added up in float64 in the order of the dimensions."""
    terms = residuals.astype(np.float64) * decode(codes, values, sigma)
    return np.asarray(np.cumsum(terms, axis=1)[:, -1])


def residual_norms(
    residuals: Float32[np.ndarray, "n dim"],
    codes: UInt8[np.ndarray, "n dim"],
    values: Float32[np.ndarray, "groups 256"],
    sigma: Float32[np.ndarray, " dim"],
    scale: Float32[np.ndarray, " n"],
    bounds: Int64[np.ndarray, " bounds"],
) -> Float64[np.ndarray, "n parts"]:
    """Compute the norms of residual − scale · decoded in float64, from bound to bound."""
    scaled = scale[:, None].astype(np.float64) * decode(codes, values, sigma)
    return part_norms(residuals.astype(np.float64) - scaled, bounds)


def rotate(
    query: Float32[np.ndarray, " dim"], rotation: Float32[np.ndarray, "dim width"]
) -> Float32[np.ndarray, " width"]:
    """Compute `query @ rotation` in float32, added up in the order of the query's entries."""
    return np.asarray(np.cumsum(query[:, None] * rotation, axis=0, dtype=np.float32)[-1])


def score_cells(
    rotated: Float32[np.ndarray, " width"], cells: Cells
) -> tuple[Float32[np.ndarray, " cells"], Float32[np.ndarray, " cells"]]:
    """Compute the score of each cell, and its rank: score + prior + `SPREAD_WEIGHT` deviations.

    The query is rounded to steps of 1/127 of its largest entry in the centroids' prefix. The
    spread of ⟨query, residual⟩ over rows with residuals of length 1 is √Σ (query · sigma)².
    """
    centroids = integer_centroids(cells)
    prefix = np.zeros(centroids.shape[1], np.float32)
    prefix[: len(rotated)] = rotated[: len(prefix)]
    step = np.float32(np.abs(prefix).max() / np.float32(127))
    # A denormal step may be rounded so far down that more than 127 of it were needed.
    integer = np.clip(np.rint(prefix / step), -127, 127) if step > 0 else np.zeros_like(prefix)
    sums = centroids @ integer.astype(np.int64)
    count = len(cells.counts)
    scores = cells.steps[:count] * (step * sums.astype(np.float32))
    squares = np.square(rotated.astype(np.float64) * cells.sigma.astype(np.float64))
    width = np.float32(SPREAD_WEIGHT * np.sqrt(np.cumsum(squares)[-1]))
    return scores, (scores + cells.priors[:count]) + width * cells.spreads[:count]


def assign_with_spill(
    scores: Float32[np.ndarray, "n cells"],
    vectors: Float32[np.ndarray, "n dims"],
    centroids: Float32[np.ndarray, "cells dims"],
    n_nearest: int,
    cell_ids: Int64[np.ndarray, " n"],
    spill_cells: Int64[np.ndarray, " n"],
) -> None:
    """Fill in the cell of the best score, and of the `n_nearest` cells the other of least cost.

    The cost is that of SOAR in float32: |r'|² + λ ⟨r, r'⟩ (⟨r, r'⟩ / |r|²), in this order, for
    ⟨r, r'⟩² overflows with long rows; r and r' are the residuals to the two cells. Sums go by
    dimension; equal scores, and equal costs, go to the smaller cell. With one cell alone the spill
    cell is −1.
    """
    cells = np.arange(len(centroids))
    spill_cells[:] = -1
    for row in range(len(vectors)):
        nearest = select_top(scores[row].astype(np.float64), cells, n_nearest)
        residuals = vectors[row] - centroids[nearest]
        costs = np.cumsum(residuals * residuals, axis=1, dtype=np.float32)[:, -1]
        inner = np.cumsum(residuals * residuals[0], axis=1, dtype=np.float32)[:, -1]
        if costs[0] > 0:
            with np.errstate(over="ignore"):
                costs = costs + np.float32(SOAR_WEIGHT) * inner * (inner / costs[0])
        cell_ids[row] = nearest[0]
        if len(nearest) > 1:
            spill_cells[row] = nearest[1:][np.lexsort((nearest[1:], costs[1:]))[0]]


def word_values(
    rotated: Float32[np.ndarray, " dim"], cells: Cells, funnel: Funnel, stage: int
) -> Float32[np.ndarray, "w 64"]:
    """Compute the value of each bit of a stage's words; 0 beyond the stage's dimensions."""
    dims = int(funnel.dims[stage])
    padded = np.zeros(-(-len(rotated) // GROUP) * GROUP, np.float32)
    scaled = (cells.sigma * rotated)[:dims]
    padded[: len(scaled)] = scaled
    words = slice(funnel.starts[stage], funnel.starts[stage + 1])
    grouped = padded.reshape(-1, GROUP)[funnel.groups[words]]
    return np.asarray(funnel.coefficients[words, None] * grouped, np.float32)


def lookup_tables(
    values: Float32[np.ndarray, "w 64"], largest: int
) -> tuple[Int64[np.ndarray, "w 16 16"], float, float]:
    """Tabulate the 16 sums that the values of each four dimensions make, in steps above the least.

    Entry m is the sum of the values whose bits are set in m, lower dimensions first. Returns the
    entries (0..largest), the step, which is 0 if all values are, and the sum of all least sums.
    """
    quads = values.reshape(len(values), 16, 4).astype(np.float64)
    sums = np.zeros((len(values), 16, 16))
    lowest = np.zeros((len(values), 16))
    highest = np.zeros((len(values), 16))
    for i in range(4):
        sums[:, :, 2**i : 2 ** (i + 1)] = sums[:, :, : 2**i] + quads[:, :, i : i + 1]
        lowest += np.minimum(quads[:, :, i], 0)
        highest += np.maximum(quads[:, :, i], 0)
    step = float((highest - lowest).max(initial=0.0)) / largest
    if step == 0:
        return np.zeros(sums.shape, np.int64), 0.0, 0.0
    entries = np.rint((sums - lowest[:, :, None]) / step).astype(np.int64)
    return np.minimum(entries, largest), step, float(np.cumsum(lowest)[-1])


def table_sums(
    head: UInt8[np.ndarray, "n bytes"], entries: Int64[np.ndarray, "w 16 16"]
) -> Int64[np.ndarray, " n"]:
    """Sum the entries that the words of each row (eight bytes each, in order) name."""
    nibbles = np.stack([head & 15, head >> 4], axis=2).astype(np.int64)
    nibbles = nibbles.reshape(len(head), 2 * head.shape[1])
    looked_up = np.take_along_axis(entries.reshape(1, -1, 16), nibbles[:, :, None], axis=2)
    return np.asarray(looked_up.sum(axis=(1, 2)))


def selected_sum(
    words: UInt64[np.ndarray, "n w"], values: Float32[np.ndarray, "w 64"]
) -> Float32[np.ndarray, " n"]:
    """Sum the values whose bits are set in each row, in float32 and 16 lanes.

    Dimension i of a word goes to lane i mod 16, lower ones first, words in order; at the end lane
    halves are added to each other (8 + 8, 4 + 4, 2 + 2, 1 + 1).
    """
    lanes = np.zeros((len(words), 16), np.float32)
    for w in range(words.shape[1]):
        bits = (words[:, w, None] >> np.arange(GROUP, dtype=np.uint64)) & np.uint64(1)
        selected = np.where(bits.astype(bool), values[w], np.float32(0))
        for part in range(4):
            lanes = lanes + selected[:, 16 * part : 16 * (part + 1)]
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return np.asarray(lanes[:, 0])


def shift_of(values: Float32[np.ndarray, "w 64"]) -> float:
    """Compute −½ Σ values: the bits of a code stand for ±½."""
    return -0.5 * float(np.cumsum(values.astype(np.float64).ravel())[-1])


def select_top(
    values: Float64[np.ndarray, " n"], keys: Int64[np.ndarray, " n"], keep: int
) -> Int64[np.ndarray, " kept"]:
    """Return the places of the `keep` largest values, best first; ties go to the smaller key."""
    return np.lexsort((keys, -values))[:keep]


def best_scores(
    scores: Float32[np.ndarray, "q n"],
    rows: Int64[np.ndarray, "q k"],
    best: Float32[np.ndarray, "q k"],
) -> None:
    """Fill in the best columns of each row of scores, best first; ties go to the smaller one."""
    rows[:] = np.argsort(-scores, axis=1, kind="stable")[:, : rows.shape[1]]
    best[:] = np.take_along_axis(scores, rows, axis=1)


def count_reaching(
    scores: Float32[np.ndarray, "q n"],
    rows: Int64[np.ndarray, " m"],
    thresholds: Float32[np.ndarray, " m"],
    counts: Int64[np.ndarray, " m"],
) -> None:
    """Fill in the number of scores in row `rows[i]` that are at least `thresholds[i]`."""
    counts[:] = (scores[rows] >= thresholds[:, None]).sum(axis=1)


def dot(left: Float32[np.ndarray, " dim"], right: Float32[np.ndarray, " dim"]) -> float:
    """Compute the inner product in float64 over 8 interleaved lanes, then added up in order.

    A product of two float32 values is exact in float64, so the only rounding is in the sums.
    """
    return _lane_sum(left.astype(np.float64) * right.astype(np.float64))


def squared_distance(a: Float32[np.ndarray, " dim"], b: Float32[np.ndarray, " dim"]) -> float:
    """Compute |a − b|², each step in float64, added up like `dot`."""
    return _lane_sum(np.square(a.astype(np.float64) - b.astype(np.float64)))


def _lane_sum(terms: Float64[np.ndarray, " dim"]) -> float:
    padded = np.zeros(-(-len(terms) // 8) * 8)
    padded[: len(terms)] = terms
    lanes = np.zeros(8)
    for part in padded.reshape(-1, 8):
        lanes = lanes + part
    total = 0.0
    for lane in lanes.tolist():
        total += lane
    return total


def full_score(
    query: Float32[np.ndarray, " dim"], row: Float32[np.ndarray, " dim"], metric: int
) -> float:
    """Compute the score of a stored vector in float64: ⟨q, x⟩, ⟨q, x⟩ / (|q| |x|) or −|q − x|².

    Lengths are √`dot`; the cosine with a zero vector is 0.
    """
    if metric == EUCLIDEAN:
        return -squared_distance(query, row)
    product = dot(query, row)
    if metric == IP:
        return product
    lengths = np.sqrt(dot(query, query)) * np.sqrt(dot(row, row))
    return product / float(lengths) if lengths > 0 else 0.0


def exact_one(
    query: Float32[np.ndarray, " dim"],
    vectors: Float32[np.ndarray, "n dim"],
    allowed: UInt8[np.ndarray, " n_or_0"],
    metric: int,
    k: int,
) -> tuple[Int64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Find the exact top k by definition: the best (allowed) rows by `full_score`, ties by row.

    Row −1 and score −inf fill up where there are fewer than `k` rows.
    """
    rows = np.arange(len(vectors)) if len(allowed) == 0 else np.flatnonzero(allowed)
    return _top_k(rows, _full_scores(query, vectors, rows, metric), k)


def _full_scores(
    query: Float32[np.ndarray, " dim"],
    vectors: Float32[np.ndarray, "n dim"],
    rows: Int64[np.ndarray, " m"],
    metric: int,
) -> Float64[np.ndarray, " m"]:
    return np.array([full_score(query, vectors[row], metric) for row in rows], np.float64)


def _top_k(
    rows: Int64[np.ndarray, " n"], values: Float64[np.ndarray, " n"], k: int
) -> tuple[Int64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Take the `k` best rows, filled up with row −1 and score −inf."""
    best = select_top(values, rows, k)
    missing = k - len(best)
    return (
        np.append(rows[best], np.full(missing, -1)),
        np.append(values[best], np.full(missing, -np.inf)),
    )


def exact_batch(
    queries: Float32[np.ndarray, "q dim"],
    floors: Float64[np.ndarray, " q"],
    segment: SegmentArrays,
    bounds: SegmentBounds,
    options: SearchOptions,
    max_above_floor: int,
    out: TopK,
) -> None:
    """Find `exact_one` among the rows that score at least the query's floor.

    A query is abandoned if more than `max_above_floor` rows (fewer than k) score above its floor.
    Every allowed row is scored in full: `bounds` are for backends that leave rows out by them.
    """
    n, k = len(segment.vectors), options.k
    allowed = np.arange(n) if len(options.allowed) == 0 else np.flatnonzero(options.allowed)
    for q, (query, floor) in enumerate(zip(queries, floors, strict=True)):
        scores = _full_scores(query, segment.vectors, allowed, options.metric)
        reached = scores >= floor
        out.rows[q], out.scores[q] = _top_k(allowed[reached], scores[reached], k)
        abandoned = max_above_floor < k and (scores > floor).sum() > max_above_floor
        out.counts[q] = 0, 0, len(allowed), abandoned


def scan_batch(
    queries: Float32[np.ndarray, "q dim"],
    vectors: Float32[np.ndarray, "n dim"],
    candidates: Int64[np.ndarray, " m"],
    metric: int,
    k: int,
    out: TopK,
) -> None:
    """Find the top k of the candidate rows by `full_score`, ties by row."""
    out.counts[:] = len(candidates)
    for q, query in enumerate(queries):
        scores = _full_scores(query, vectors, candidates, metric)
        out.rows[q], out.scores[q] = _top_k(candidates, scores, k)


def orthogonality_defect(rotation: Float32[np.ndarray, "dim dim"]) -> float:
    """Compute an upper bound on ‖I − R Rᵀ‖ by its Frobenius norm, for float64 sums of any order.

    An inner product of two rows is off by at most dim · 2⁻⁵³ of the product of their lengths, and
    all of them together by that of Σ length².
    """
    wide, dim = rotation.astype(np.float64), len(rotation)
    rounding = dim * 2.0**-52 * (1 + float(np.square(wide).sum()))
    defect = float(np.linalg.norm(np.eye(dim) - wide @ wide.T))
    return (1 + 2.0**-52 * dim**2) * defect + rounding


def probe_cells(
    ranks: Float32[np.ndarray, " cells"], counts: Int64[np.ndarray, " cells"], probe: int, k: int
) -> Int64[np.ndarray, " probed"]:
    """Choose the `probe` best cells, best first.

    While these hold fewer than `k` rows, they become twice as many.
    """
    order = select_top(ranks.astype(np.float64), np.arange(len(ranks)), len(ranks))
    while probe < len(order) and counts[order[:probe]].sum() < k:
        probe *= 2
    return order[:probe]


class _Candidates(NamedTuple):
    """Record ids of rows, and their scores so far."""

    record_ids: Int64[np.ndarray, " n"]
    values: Float64[np.ndarray, " n"]

    def best(self, keep: int) -> "_Candidates":
        """Keep the `keep` best rows, each by the best of its values."""
        order = select_top(self.values, self.record_ids, len(self.record_ids))
        _, first_places = np.unique(self.record_ids[order], return_index=True)
        return self.take(order[np.sort(first_places)][:keep])

    def take(self, places: np.ndarray) -> "_Candidates":
        """Take the candidates at some places, or where a mask is true."""
        return _Candidates(self.record_ids[places], self.values[places])


def search_one(
    query: Float32[np.ndarray, " dim"],
    segment: SegmentArrays,
    plan: SegmentPlan,
    options: SearchOptions,
) -> tuple[Int64[np.ndarray, " k"], Float64[np.ndarray, " k"], Int64[np.ndarray, " counts"]]:
    """Search for one query by a plan: rows, scores, and the cells and rows that each step read.

    Only rows that are `allowed` (1; an empty array allows all) become candidates. Ties: a coded
    stage prefers the smaller record id (within a cell: the smaller row), the hits prefer the
    smaller row. Row −1 and score −inf fill up where there are fewer than `k` rows. The counts are
    [cells probed, rows per stage…, rows scored in full].
    """
    cells, funnel, allowed = segment.cells, plan.funnel, options.allowed
    stages = len(funnel.keep)
    counts = np.zeros(stages + 2, np.int64)
    rotated = rotate(query, cells.rotation[:, : len(cells.sigma)])
    scores, ranks = score_cells(rotated, cells)
    probed = probe_cells(ranks, cells.counts, plan.probe, options.k)
    counts[0] = len(probed)
    candidates = _rows_of_cells(probed, cells)
    for stage in range(stages):
        counts[1 + stage] = len(candidates.record_ids)
        if stage == 0 and uses_head_tables(funnel):
            counts[1] += cells.spill_counts[probed].sum()
            candidates = _scan_heads(rotated, scores, cells, funnel, probed)
        else:
            values = _estimates(rotated, scores, cells, funnel, stage, candidates.record_ids)
            candidates = candidates._replace(values=values)
        if stage == 0:
            candidates = _keep_allowed(candidates, cells, allowed)
        candidates = candidates.best(int(funnel.keep[stage]))
    if stages == 0:
        candidates = _keep_allowed(candidates, cells, allowed)
    rows, values = cells.rows[candidates.record_ids].astype(np.int64), candidates.values
    if plan.full:
        counts[-1] = len(rows)
        values = _full_scores(query, segment.vectors, rows, options.metric)
    return *_top_k(rows, values, options.k), counts


def search_batch(
    queries: Float32[np.ndarray, "q dim"],
    segment: SegmentArrays,
    plan: SegmentPlan,
    options: SearchOptions,
    out: TopK,
) -> None:
    """Search for each query by itself: `search_one`."""
    for q, query in enumerate(queries):
        out.rows[q], out.scores[q], out.counts[q] = search_one(query, segment, plan, options)


def uses_head_tables(funnel: Funnel) -> bool:
    """Check that the first stage reads head words only, and so by tables."""
    return bool((funnel.head_word_slots[: funnel.starts[1]] >= 0).all())


def _keep_allowed(candidates: _Candidates, cells: Cells, allowed: np.ndarray) -> _Candidates:
    if len(allowed) == 0:
        return candidates
    mask: Bool[np.ndarray, " n"] = allowed[cells.rows[candidates.record_ids]] == 1
    return candidates.take(mask)


def _rows_of_cells(probed: Int64[np.ndarray, " probed"], cells: Cells) -> _Candidates:
    """List the primary rows of the probed cells."""
    record_ids = np.flatnonzero(np.isin(cells.cell_ids, probed))
    return _Candidates(record_ids, np.zeros(len(record_ids)))


def _scan_heads(
    rotated: Float32[np.ndarray, " width"],
    scores: Float32[np.ndarray, " cells"],
    cells: Cells,
    funnel: Funnel,
    probed: Int64[np.ndarray, " probed"],
) -> _Candidates:
    """Estimate all rows in the probed cells by their heads, primary and spilled ones."""
    values = word_values(rotated, cells, funnel, 0)
    entries, step, lowest = lookup_tables(values, NARROW)
    shift = np.float32(shift_of(values) + lowest)
    word_slots = funnel.head_word_slots[: funnel.starts[1]]
    parts = [_Candidates(np.empty(0, np.int64), np.empty(0))]
    for cell in probed:
        slots = slots_of(cells, int(cell))
        words = cells.head[slots // LANES, :, slots % LANES]
        words = words.reshape(len(slots), cells.head.shape[1] // 8, 8)[:, word_slots]
        sums = table_sums(words.reshape(len(slots), 8 * len(word_slots)), entries)
        inner = shift + np.float32(step) * sums.astype(np.float32)
        estimates = scores[cell] + cells.scale[slots] * inner
        if len(cells.bias):
            estimates = estimates + cells.bias[slots]
        record_ids = record_ids_of(cells, int(cell))
        parts.append(_Candidates(record_ids, estimates.astype(np.float64)))
    return _Candidates(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _estimates(
    rotated: Float32[np.ndarray, " width"],
    scores: Float32[np.ndarray, " cells"],
    cells: Cells,
    funnel: Funnel,
    stage: int,
    record_ids: Int64[np.ndarray, " n"],
) -> Float64[np.ndarray, " n"]:
    """Estimate the scores of some rows from the words of a stage."""
    values = word_values(rotated, cells, funnel, stage)
    word_slots = funnel.word_slots[funnel.starts[stage] : funnel.starts[stage + 1]]
    sums = selected_sum(cells.records[record_ids][:, word_slots], values)
    inner = np.float32(shift_of(values)) + sums
    estimates = scores[cells.cell_ids[record_ids]] + cells.record_scale[record_ids] * inner
    return np.asarray(estimates + cells.record_bias[record_ids], np.float64)
