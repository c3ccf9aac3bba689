"""The kernels in plain NumPy: they define the meaning, and `compiled` is tested equal to them.

A stage reads a subset of the words. Dimension i of word w stands for `value[w, i]`, the product of
the word's coefficient, the dimension's spread and the query; a row's estimate is

    cell_score + scale[row] · (shift + Σ_w Σ_i bit[w, i] · value[w, i]) + bias[row]

Where every probed row is read, the values of four dimensions at a time become a table of the 16
sums they can make, each rounded to a whole number of steps from 0 to 127 (or 16,383: `tables`).
Sums of table entries are whole numbers, so no order of addition matters. Where few rows are read,
the sum is float32, in the order that `selected_sum` states. Both twins round alike: equal to the
last bit.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

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
    centroid_steps,
    homes_of,
    part_bounds,
    slots_of,
)
from nestvec.shapes import Bool, Float32, Float64, Int64, UInt8, UInt16, UInt64


def pack_words(
    codes: UInt8[np.ndarray, "n dim"],
    groups: Int64[np.ndarray, " w"],
    shifts: Int64[np.ndarray, " w"],
) -> UInt64[np.ndarray, "n w"]:
    """Word w of a row holds bit `shifts[w]` of the codes in group `groups[w]`, lowest dim first."""
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
    """Uniform codes in 0..levels−1 of `residual / (norm · sigma)`, cells of width `steps`.

    The middle of the code range is zero; values beyond the outer cells go to these. A zero norm or
    sigma gives the code just above zero.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = residuals / (norms[:, None] * (sigma * steps))
    finite = np.where(np.isfinite(unit), unit, np.float32(0))
    half = (levels // 2).astype(np.float32)
    code = np.floor(finite) + half
    return np.clip(code, 0, np.maximum(levels - 1, 0)).astype(np.uint8)


def part_norms(values: Float64[np.ndarray, "n dim"]) -> Float64[np.ndarray, "n parts"]:
    """Euclidean lengths of the parts of each row."""
    bounds = part_bounds(values.shape[1])
    squares = [np.square(values[:, a:b]).sum(axis=1) for a, b in pairwise(bounds)]
    return np.asarray(np.sqrt(np.stack(squares, axis=1)))


def float32_up(values: Float64[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """The smallest float32 numbers that are not below the (non-negative, finite) values."""
    narrow = values.astype(np.float32)
    higher = np.nextafter(narrow, np.float32(np.inf))
    return np.asarray(np.where(narrow < values, higher, narrow), np.float32)


def bfloat16_up(values: Float64[np.ndarray, "*shape"]) -> UInt16[np.ndarray, "*shape"]:
    """The same in bfloat16."""
    bits = np.ascontiguousarray(float32_up(values)).view(np.uint32).astype(np.uint64)
    return ((bits + 0xFFFF) >> 16).astype(np.uint16)


def from_bfloat16(bits: UInt16[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """The numbers that these bits are the upper halves of."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def decoded(
    codes: UInt8[np.ndarray, "n dim"],
    values: Float32[np.ndarray, "groups 256"],
    sigma: Float32[np.ndarray, " dim"],
) -> Float32[np.ndarray, "n dim"]:
    """What codes stand for: `values` of the dimension's group, times its spread."""
    groups = np.arange(codes.shape[1]) // GROUP
    return np.asarray(values[groups, codes] * sigma, np.float32)


def lengths_along(
    residuals: Float32[np.ndarray, "n dim"],
    codes: UInt8[np.ndarray, "n dim"],
    values: Float32[np.ndarray, "groups 256"],
    sigma: Float32[np.ndarray, " dim"],
) -> Float64[np.ndarray, " n"]:
    """⟨residual, decoded⟩ per row, added up in float64 in the order of the dimensions."""
    terms = residuals.astype(np.float64) * decoded(codes, values, sigma)
    return np.asarray(np.cumsum(terms, axis=1)[:, -1])


def rests(
    residuals: Float32[np.ndarray, "n dim"],
    codes: UInt8[np.ndarray, "n dim"],
    values: Float32[np.ndarray, "groups 256"],
    sigma: Float32[np.ndarray, " dim"],
    scale: Float32[np.ndarray, " n"],
) -> Float64[np.ndarray, "n parts"]:
    """Lengths of the parts of residual − scale · decoded, in float64."""
    codes_of = scale[:, None].astype(np.float64) * decoded(codes, values, sigma)
    return part_norms(residuals.astype(np.float64) - codes_of)


def rotate(
    query: Float32[np.ndarray, " dim"], rotation: Float32[np.ndarray, "dim width"]
) -> Float32[np.ndarray, " width"]:
    """`query @ rotation`, added up in float32 in the order of the query's entries."""
    return np.asarray(np.cumsum(query[:, None] * rotation, axis=0, dtype=np.float32)[-1])


def score_cells(
    rotated: Float32[np.ndarray, " width"], cells: Cells
) -> tuple[Float32[np.ndarray, " cells"], Float32[np.ndarray, " cells"]]:
    """Each cell's score, and its rank: score + prior + `SPREAD_WEIGHT` deviations.

    The query is rounded to whole steps of 1/127 of its largest entry in the centroids' prefix. The
    spread of ⟨query, residual⟩ over rows with residuals of length 1 is √Σ (query · sigma)².
    """
    centroids = centroid_steps(cells)
    prefix = np.zeros(centroids.shape[1], np.float32)
    prefix[: len(rotated)] = rotated[: len(prefix)]
    step = np.float32(np.abs(prefix).max() / np.float32(127))
    # A denormal step may be rounded so far down that more than 127 of it were needed.
    whole = np.clip(np.rint(prefix / step), -127, 127) if step > 0 else np.zeros_like(prefix)
    sums = centroids @ whole.astype(np.int64)
    count = len(cells.counts)
    scores = cells.steps[:count] * (step * sums.astype(np.float32))
    squares = np.square(rotated.astype(np.float64) * cells.sigma.astype(np.float64))
    width = np.float32(SPREAD_WEIGHT * np.sqrt(np.cumsum(squares)[-1]))
    return scores, (scores + cells.priors[:count]) + width * cells.spreads[:count]


def assign_twice(
    scores: Float32[np.ndarray, "n cells"],
    vectors: Float32[np.ndarray, "n dims"],
    centroids: Float32[np.ndarray, "cells dims"],
    nearest: int,
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Each row's cell of the best score, and of the `nearest` cells that of least cost besides.

    The cost is `index.cells.assign_twice`'s, in float32: |r'|² + λ ⟨r, r'⟩ (⟨r, r'⟩ / |r|²), in
    this order, for ⟨r, r'⟩² overflows with long rows. Sums go by dimension; equal scores, and equal
    costs, go to the smaller cell. The second of one cell alone is −1.
    """
    first, second = np.empty(len(vectors), np.int64), np.full(len(vectors), -1)
    every = np.arange(len(centroids))
    for row in range(len(vectors)):
        near = select_top(scores[row].astype(np.float64), every, nearest)
        rests = vectors[row] - centroids[near]
        costs = np.cumsum(rests * rests, axis=1, dtype=np.float32)[:, -1]
        along = np.cumsum(rests * rests[0], axis=1, dtype=np.float32)[:, -1]
        if costs[0] > 0:
            with np.errstate(over="ignore"):
                costs = costs + np.float32(SOAR_WEIGHT) * along * (along / costs[0])
        first[row] = near[0]
        if len(near) > 1:
            second[row] = near[1:][np.lexsort((near[1:], costs[1:]))[0]]
    return first, second


def word_values(
    rotated: Float32[np.ndarray, " dim"], cells: Cells, funnel: Funnel, stage: int
) -> Float32[np.ndarray, "w 64"]:
    """What the bits of a stage's words stand for; 0 beyond the stage's dimensions."""
    dims = int(funnel.dims[stage])
    padded = np.zeros(-(-len(rotated) // GROUP) * GROUP, np.float32)
    scaled = (cells.sigma * rotated)[:dims]
    padded[: len(scaled)] = scaled
    words = slice(funnel.starts[stage], funnel.starts[stage + 1])
    grouped = padded.reshape(-1, GROUP)[funnel.groups[words]]
    return np.asarray(funnel.coefficients[words, None] * grouped, np.float32)


def tables(
    values: Float32[np.ndarray, "w 64"], largest: int
) -> tuple[Int64[np.ndarray, "w 16 16"], float, float]:
    """For each four dimensions the 16 sums of their values, as whole steps above the least sum.

    Entry m is the sum of the values whose bits are set in m, lower dimensions first. Returns the
    entries (0..largest), the step, which is 0 if all values are, and the sum of all least sums.
    """
    fours = values.reshape(len(values), 16, 4).astype(np.float64)
    sums = np.zeros((len(values), 16, 16))
    least = np.zeros((len(values), 16))
    most = np.zeros((len(values), 16))
    for i in range(4):
        sums[:, :, 2**i : 2 ** (i + 1)] = sums[:, :, : 2**i] + fours[:, :, i : i + 1]
        least += np.minimum(fours[:, :, i], 0)
        most += np.maximum(fours[:, :, i], 0)
    step = float((most - least).max(initial=0.0)) / largest
    if step == 0:
        return np.zeros(sums.shape, np.int64), 0.0, 0.0
    entries = np.rint((sums - least[:, :, None]) / step).astype(np.int64)
    return np.minimum(entries, largest), step, float(np.cumsum(least)[-1])


def table_sums(
    head: UInt8[np.ndarray, "n bytes"], entries: Int64[np.ndarray, "w 16 16"]
) -> Int64[np.ndarray, " n"]:
    """Per row, the sum of the entries that its words (eight bytes each, in order) name."""
    nibbles = np.stack([head & 15, head >> 4], axis=2).astype(np.int64)
    nibbles = nibbles.reshape(len(head), 2 * head.shape[1])
    named = np.take_along_axis(entries.reshape(1, -1, 16), nibbles[:, :, None], axis=2)
    return np.asarray(named.sum(axis=(1, 2)))


def selected_sum(
    words: UInt64[np.ndarray, "n w"], values: Float32[np.ndarray, "w 64"]
) -> Float32[np.ndarray, " n"]:
    """Per row, the sum of the values whose bits are set, in float32 and 16 lanes.

    Dimension i of a word goes to lane i mod 16, lower ones first, words in order; at the end lane
    halves are added to each other (8 + 8, 4 + 4, 2 + 2, 1 + 1).
    """
    lanes = np.zeros((len(words), 16), np.float32)
    for w in range(words.shape[1]):
        bits = (words[:, w, None] >> np.arange(GROUP, dtype=np.uint64)) & np.uint64(1)
        chosen = np.where(bits.astype(bool), values[w], np.float32(0))
        for part in range(4):
            lanes = lanes + chosen[:, 16 * part : 16 * (part + 1)]
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return np.asarray(lanes[:, 0])


def shift_of(values: Float32[np.ndarray, "w 64"]) -> float:
    """−½ Σ values: the bits of a code stand for ±½."""
    return -0.5 * float(np.cumsum(values.astype(np.float64).ravel())[-1])


def select_top(
    values: Float64[np.ndarray, " n"], keys: Int64[np.ndarray, " n"], keep: int
) -> Int64[np.ndarray, " kept"]:
    """Places of the `keep` largest values, best first; equal values go to the smaller key."""
    return np.lexsort((keys, -values))[:keep]


def best_scores(
    scores: Float32[np.ndarray, "q n"], k: int
) -> tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"]]:
    """The `k` best columns of each row and their scores, best first; equals to the smaller one."""
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(scores, rows, axis=1)


def count_reaching(
    scores: Float32[np.ndarray, "q n"],
    rows: Int64[np.ndarray, " m"],
    bars: Float32[np.ndarray, " m"],
) -> Int64[np.ndarray, " m"]:
    """How many scores of row `rows[i]` are at least `bars[i]`."""
    return np.asarray((scores[rows] >= bars[:, None]).sum(axis=1), np.int64)


def dot(left: Float32[np.ndarray, " dim"], right: Float32[np.ndarray, " dim"]) -> float:
    """The inner product, added up in float64 over 8 interleaved lanes, lanes in order at the end.

    A product of two float32 values is exact in float64, so the only rounding is in the sums.
    """
    return _lane_sum(left.astype(np.float64) * right.astype(np.float64))


def squared_distance(
    left: Float32[np.ndarray, " dim"], right: Float32[np.ndarray, " dim"]
) -> float:
    """|left − right|², each step in float64, added up like `dot`."""
    return _lane_sum(np.square(left.astype(np.float64) - right.astype(np.float64)))


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
    """The score of a stored vector, in float64: ⟨q, x⟩, ⟨q, x⟩ / (|q| |x|) or −|q − x|².

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
    """What exact means: the best of all (allowed) rows by `full_score`, equal ones by row.

    Fewer than `k` rows are filled up with row −1, score −inf.
    """
    rows = np.arange(len(vectors)) if len(allowed) == 0 else np.flatnonzero(allowed)
    values = np.array([full_score(query, vectors[row], metric) for row in rows])
    best = select_top(values, rows, k)
    missing = k - len(best)
    return (
        np.append(rows[best], np.full(missing, -1)),
        np.append(values[best], np.full(missing, -np.inf)),
    )


def probe_cells(
    ranks: Float32[np.ndarray, " cells"], counts: Int64[np.ndarray, " cells"], probe: int, k: int
) -> Int64[np.ndarray, " probed"]:
    """The `probe` best cells, best first; twice as many, and again, until they hold `k` rows."""
    order = select_top(ranks.astype(np.float64), np.arange(len(ranks)), len(ranks))
    while probe < len(order) and counts[order[:probe]].sum() < k:
        probe *= 2
    return order[:probe]


class _Candidates(NamedTuple):
    """Homes of rows, and what each has scored."""

    homes: Int64[np.ndarray, " n"]
    values: Float64[np.ndarray, " n"]

    def best(self, keep: int) -> "_Candidates":
        """The `keep` best rows, each by the best of its values."""
        order = select_top(self.values, self.homes, len(self.homes))
        _, firsts = np.unique(self.homes[order], return_index=True)
        kept = order[np.sort(firsts)][:keep]
        return _Candidates(self.homes[kept], self.values[kept])


def search_one(
    query: Float32[np.ndarray, " dim"],
    cells: Cells,
    funnel: Funnel,
    vectors: Float32[np.ndarray, "n dim"],
    allowed: UInt8[np.ndarray, " n_or_0"],
    metric: int,
    probe: int,
    full: bool,
    k: int,
) -> tuple[Int64[np.ndarray, " k"], Float64[np.ndarray, " k"], Int64[np.ndarray, " counts"]]:
    """The funnel for one query: rows, scores, and how many cells and rows each step read.

    Only rows that are `allowed` (1; an empty array allows all) become candidates. Ties: a coded
    stage prefers the smaller home (within a cell: the smaller row), the answer prefers the smaller
    row. Fewer than `k` rows are filled up with row −1, score −inf. `counts` is [cells probed, rows
    per stage…, rows scored in full].
    """
    stages = len(funnel.keeps)
    counts = np.zeros(stages + 2, np.int64)
    rotated = rotate(query, cells.rotation[:, : len(cells.sigma)])
    scores, ranks = score_cells(rotated, cells)
    probed = probe_cells(ranks, cells.counts, probe, k)
    counts[0] = len(probed)
    candidates = _rows_of(probed, cells)
    for stage in range(stages):
        counts[1 + stage] = len(candidates.homes)
        if stage == 0 and scans_head(funnel):
            counts[1] += cells.spills[probed].sum()
            candidates = _scan(rotated, scores, cells, funnel, probed)
        else:
            values = _estimates(rotated, scores, cells, funnel, stage, candidates.homes)
            candidates = _Candidates(candidates.homes, values)
        if stage == 0:
            candidates = _allowed(candidates, cells, allowed)
        candidates = candidates.best(int(funnel.keeps[stage]))
    if stages == 0:
        candidates = _allowed(candidates, cells, allowed)
    rows, values = cells.rows[candidates.homes].astype(np.int64), candidates.values
    if full:
        counts[-1] = len(rows)
        values = np.array([full_score(query, vectors[row], metric) for row in rows])
    best = select_top(values, rows, k)
    missing = k - len(best)
    return (
        np.append(rows[best], np.full(missing, -1)),
        np.append(values[best], np.full(missing, -np.inf)),
        counts,
    )


def scans_head(funnel: Funnel) -> bool:
    """Whether the first stage reads head words only, and so by tables."""
    return bool((funnel.head_slots[: funnel.starts[1]] >= 0).all())


def _allowed(candidates: _Candidates, cells: Cells, allowed: np.ndarray) -> _Candidates:
    if len(allowed) == 0:
        return candidates
    kept: Bool[np.ndarray, " n"] = allowed[cells.rows[candidates.homes]] == 1
    return _Candidates(candidates.homes[kept], candidates.values[kept])


def _rows_of(probed: Int64[np.ndarray, " probed"], cells: Cells) -> _Candidates:
    """The rows at home in the probed cells."""
    homes = np.flatnonzero(np.isin(cells.owners, probed))
    return _Candidates(homes, np.zeros(len(homes)))


def _scan(
    rotated: Float32[np.ndarray, " width"],
    scores: Float32[np.ndarray, " cells"],
    cells: Cells,
    funnel: Funnel,
    probed: Int64[np.ndarray, " probed"],
) -> _Candidates:
    """Estimates from the heads of all rows in the probed cells, at home there or not."""
    values = word_values(rotated, cells, funnel, 0)
    entries, step, least = tables(values, NARROW)
    shift = np.float32(shift_of(values) + least)
    slots = funnel.head_slots[: funnel.starts[1]]
    found = [_Candidates(np.empty(0, np.int64), np.empty(0))]
    for cell in probed:
        at = slots_of(cells, int(cell))
        words = cells.head[at // LANES, :, at % LANES].reshape(len(at), cells.head.shape[1] // 8, 8)
        sums = table_sums(words[:, slots].reshape(len(at), 8 * len(slots)), entries)
        inner = shift + np.float32(step) * sums.astype(np.float32)
        estimates = scores[cell] + cells.scale[at] * inner
        if len(cells.bias):
            estimates = estimates + cells.bias[at]
        found.append(_Candidates(homes_of(cells, int(cell)), estimates.astype(np.float64)))
    return _Candidates(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _estimates(
    rotated: Float32[np.ndarray, " width"],
    scores: Float32[np.ndarray, " cells"],
    cells: Cells,
    funnel: Funnel,
    stage: int,
    homes: Int64[np.ndarray, " n"],
) -> Float64[np.ndarray, " n"]:
    """Estimates of the rows at `homes` from the words of a stage."""
    values = word_values(rotated, cells, funnel, stage)
    slots = funnel.slots[funnel.starts[stage] : funnel.starts[stage + 1]]
    inner = np.float32(shift_of(values)) + selected_sum(cells.records[homes][:, slots], values)
    estimates = scores[cells.owners[homes]] + cells.own_scale[homes] * inner
    return np.asarray(estimates + cells.own_bias[homes], np.float64)
