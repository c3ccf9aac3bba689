"""The kernels in plain NumPy: they define the meaning, and `compiled` is tested equal to them.

Layout. Dimensions are cut in groups of 64, so that one bit plane of one group is one 64-bit word
(bit i of a word is dimension `64·group + i`). Rows lie in blocks of `LANES`; the places that no row
fills have scale NaN, which no threshold lets through. The head words of a block lie word-major, so
that one instruction works on many rows (PDX, Kuffó et al. 2025); tail words lie by row, because
only few rows read theirs.

    head  [block, head_word, lane]      tail  [block · LANES + lane, tail_word]

A stage reads a subset of the words. Word w contributes `weight[w] · Σ_i bit_i · query_i`, where
query_i is the query, quantised to signed integers within its group of 64 and cut in bit planes
(RaBitQ, Gao & Long 2024). The sum over set bits is then ANDs and population counts:

    Σ_i bit_i · query_i = Σ_t ±2^t · popcount(word & query_plane_t)      (the top plane counts −)

It lies within ±64 · 2^(planes − 1), at most ±2,048 for the 6 planes used, so 32-bit integers never
overflow and float32 holds it exactly. The estimate of a row is

    cell_score + scale[row] · (shift + Σ_w weight[w] · sum[w])

added up in float32 in the order of the words. Both twins round alike: equal to the last bit.
"""

from typing import NamedTuple

import numpy as np

from nestvec.shapes import Float32, Float64, Int64, UInt8, UInt64

GROUP = 64
LANES = 16
SCAN_PLANES = 4
REFINE_PLANES = 6
"""Bit planes of the query where all probed rows are read, and where only the kept ones are."""


class Cells(NamedTuple):
    """The coded rows of one segment, cell after cell, in the layout told above."""

    centroids: np.ndarray  # float32 [cells, cell dims], rotated, zero beyond their width
    starts: np.ndarray  # int64 [cells + 1], in blocks
    counts: np.ndarray  # int64 [cells], rows
    owners: np.ndarray  # int32 [blocks], the cell of each block
    rows: np.ndarray  # int32 [blocks · LANES], row number, -1 where there is none
    scale: np.ndarray  # float32 [blocks · LANES], NaN where there is no row
    head: np.ndarray  # uint64 [blocks, head words, LANES]
    tail: np.ndarray  # uint64 [blocks · LANES, tail words]
    sigma: np.ndarray  # float32 [dim], the spread that codes are measured in


class Funnel(NamedTuple):
    """A plan as flat arrays: stage s owns the words `starts[s]:starts[s + 1]`."""

    dims: np.ndarray  # int64 [stages]
    keeps: np.ndarray  # int64 [stages]
    starts: np.ndarray  # int64 [stages + 1]
    slots: np.ndarray  # int64 [words], place among the head words, or ~place among the tail words
    groups: np.ndarray  # int64 [words]
    coefficients: np.ndarray  # float32 [words]


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


def query_planes(
    query: Float32[np.ndarray, " dim"], sigma: Float32[np.ndarray, " dim"], dims: int, planes: int
) -> tuple[
    UInt64[np.ndarray, "groups planes"],
    Float32[np.ndarray, " groups"],
    Int64[np.ndarray, " groups"],
]:
    """The first `dims` of `query · sigma` as signed integers of `planes` bits, group by group.

    Returns the bit planes (two's complement, lowest first), the step of each group, and the sum of
    its integers. Rounding is to nearest, halves to even; a group of zeros has step 0.
    """
    groups = -(-len(query) // GROUP)
    scaled = np.zeros(groups * GROUP, np.float32)
    scaled[:dims] = (query * sigma)[:dims]
    grouped = scaled.reshape(groups, GROUP)
    steps = np.abs(grouped).max(axis=1) / np.float32(2 ** (planes - 1) - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(steps[:, None] > 0, grouped / steps[:, None], np.float32(0))
    integers = np.rint(ratio).astype(np.int64)
    bits = (integers[:, None, :] >> np.arange(planes)[None, :, None]) & 1
    packed = np.packbits(bits.astype(np.uint8), axis=2, bitorder="little")
    return np.ascontiguousarray(packed).view("<u8")[:, :, 0], steps, integers.sum(axis=1)


def word_sum(
    words: UInt64[np.ndarray, " n"], planes: UInt64[np.ndarray, " planes"]
) -> Int64[np.ndarray, " n"]:
    """Per word, the sum over its set bits of the query's integers."""
    total = np.zeros(len(words), np.int64)
    for t, plane in enumerate(planes):
        sign = -1 if t == len(planes) - 1 else 1
        bits = np.unpackbits((words & plane)[:, None].view(np.uint8), axis=1)
        total += sign * 2**t * bits.sum(axis=1, dtype=np.int64)
    return total


def estimate(
    query: Float32[np.ndarray, " dim"],
    cells: Cells,
    funnel: Funnel,
    stage: int,
    positions: Int64[np.ndarray, " n"],
    bases: Float32[np.ndarray, " n"],
) -> Float32[np.ndarray, " n"]:
    """The estimates of the rows at `positions`, each with its cell's score in `bases`."""
    count = SCAN_PLANES if stage == 0 else REFINE_PLANES
    planes, steps, sums = query_planes(query, cells.sigma, int(funnel.dims[stage]), count)
    total = np.zeros(len(positions), np.float32)
    shift = np.float32(0)
    for w in range(funnel.starts[stage], funnel.starts[stage + 1]):
        slot, group = funnel.slots[w], funnel.groups[w]
        if slot >= 0:
            words = cells.head[positions // LANES, slot, positions % LANES]
        else:
            words = cells.tail[positions, ~slot]
        weight = funnel.coefficients[w] * steps[group]
        shift -= np.float32(0.5) * weight * np.float32(sums[group])
        total = total + weight * word_sum(words, planes[group]).astype(np.float32)
    return np.asarray(bases + cells.scale[positions] * (shift + total), np.float32)


def select_top(
    values: Float64[np.ndarray, " n"], keys: Int64[np.ndarray, " n"], keep: int
) -> Int64[np.ndarray, " kept"]:
    """Places of the `keep` largest values, best first; equal values go to the smaller key."""
    return np.lexsort((keys, -values))[:keep]


def dot(left: Float32[np.ndarray, " dim"], right: Float32[np.ndarray, " dim"]) -> float:
    """The inner product, added up in float64 over 8 interleaved lanes, lanes in order at the end.

    A product of two float32 values is exact in float64, so the only rounding is in the sums.
    """
    padded = np.zeros(-(-len(left) // 8) * 8)
    padded[: len(left)] = left.astype(np.float64) * right.astype(np.float64)
    lanes = np.zeros(8)
    for part in padded.reshape(-1, 8):
        lanes = lanes + part
    total = 0.0
    for lane in lanes.tolist():
        total += lane
    return total


def probe_cells(
    scores: Float32[np.ndarray, " cells"], counts: Int64[np.ndarray, " cells"], probe: int, k: int
) -> Int64[np.ndarray, " probed"]:
    """The `probe` best cells, best first; twice as many, and again, until they hold `k` rows."""
    order = select_top(scores.astype(np.float64), np.arange(len(scores)), len(scores))
    while probe < len(order) and counts[order[:probe]].sum() < k:
        probe *= 2
    return order[:probe]


def search_one(
    query: Float32[np.ndarray, " dim"],
    rotated: Float32[np.ndarray, " dim"],
    cell_scores: Float32[np.ndarray, " cells"],
    cells: Cells,
    funnel: Funnel,
    vectors: Float32[np.ndarray, "n dim"],
    probe: int,
    full: bool,
    k: int,
) -> tuple[Int64[np.ndarray, " k"], Float64[np.ndarray, " k"], Int64[np.ndarray, " counts"]]:
    """The funnel for one query: rows, scores, and how many cells and rows each step read.

    Ties: a coded stage prefers the smaller position (within a cell: the smaller row), the answer
    prefers the smaller row. `counts` is [cells probed, rows per stage…, rows scored in full].
    """
    stages = len(funnel.keeps)
    counts = np.zeros(stages + 2, np.int64)
    probed = probe_cells(cell_scores, cells.counts, probe, k)
    counts[0] = len(probed)
    positions, bases = _positions_of(probed, cell_scores, cells)
    values = np.zeros(len(positions))
    for stage in range(stages):
        counts[1 + stage] = len(positions)
        values = estimate(rotated, cells, funnel, stage, positions, bases).astype(np.float64)
        kept = select_top(values, positions, int(funnel.keeps[stage]))
        positions, bases, values = positions[kept], bases[kept], values[kept]
    rows = cells.rows[positions].astype(np.int64)
    if full:
        counts[-1] = len(rows)
        values = np.array([dot(query, vectors[row]) for row in rows])
    best = select_top(values, rows, k)
    return rows[best], values[best], counts


def _positions_of(
    probed: Int64[np.ndarray, " probed"], cell_scores: Float32[np.ndarray, " cells"], cells: Cells
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """The positions of the rows in the probed cells, and their cells' scores."""
    positions = [LANES * cells.starts[c] + np.arange(cells.counts[c]) for c in probed]
    bases = [np.full(cells.counts[c], cell_scores[c]) for c in probed]
    return (
        np.concatenate([np.empty(0, np.int64), *positions]),
        np.concatenate([np.empty(0, np.float32), *bases]),
    )
