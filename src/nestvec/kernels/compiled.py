"""The kernels of `reference`, compiled by numba: same names, same meaning, equal to the last bit.

Kernels release the interpreter lock and hold no parallel region: threads share out queries. Import
this module late, through `kernels.load()`: importing numba costs 0.3 s.
"""

from collections.abc import Callable
from inspect import unwrap
from typing import Any, TypeVar

import numba as nb
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nestvec.kernels.reference import (
    GROUP,
    LANES,
    REFINE_PLANES,
    SCAN_PLANES,
    Cells,
    Funnel,
)

_AHEAD = 8
"""How many rows ahead memory is asked for what they need."""

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["Cells", "Funnel", "pack_words", "quantize_residuals", "search_batch"]


def _kernel(**options: Any) -> Callable[[F], F]:
    """`numba.njit`, cached on disk where any cache directory can be written, else in memory."""

    def decorate(function: F) -> F:
        # Tests wrap every function to check its shapes; what numba compiles is the one inside.
        inside = unwrap(function)
        try:
            compiled: F = nb.njit(nogil=True, cache=True, **options)(inside)
        except RuntimeError:  # numba found no directory that it may write to
            compiled = nb.njit(nogil=True, **options)(inside)
        return compiled

    return decorate


@intrinsic  # type: ignore[untyped-decorator]
def _popcount(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return word(word), generate


@intrinsic  # type: ignore[untyped-decorator]
def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of the array's flat `index`, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte = ir.IntType(8).as_pointer()
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        read, keep, into_data_cache = (ir.Constant(number, value) for value in (0, 3, 1))
        builder.call(function, [place, read, keep, into_data_cache])
        return context.get_dummy_value()

    return types.void(array, index), generate


@_kernel()
def _prefetch_cell(cell, starts, head, scale):
    """Ask for what a scan of the cell reads first."""
    words = head.shape[1] * LANES
    for block in range(starts[cell], starts[cell + 1]):
        _prefetch(scale, block * LANES)
        for word in range(0, words, 8):
            _prefetch(head, block * words + word)


@_kernel()
def _prefetch_place(position, head, tail):
    """Ask for what refining the row at a place reads first."""
    block, lane = position // LANES, position % LANES
    for slot in range(head.shape[1]):
        _prefetch(head, (block * head.shape[1] + slot) * LANES + lane)
    for word in range(0, tail.shape[1], 8):
        _prefetch(tail, position * tail.shape[1] + word)


@_kernel()
def pack_words(codes, groups, shifts):
    n, dim = codes.shape
    words = np.empty((n, len(groups)), np.uint64)
    for row in range(n):
        for w in range(len(groups)):
            first = GROUP * groups[w]
            word = np.uint64(0)
            for i in range(min(GROUP, dim - first)):
                bit = np.uint64((codes[row, first + i] >> shifts[w]) & 1)
                word |= bit << np.uint64(i)
            words[row, w] = word
    return words


@_kernel()
def quantize_residuals(residuals, norms, sigma, steps, levels):
    n, dim = residuals.shape
    codes = np.empty((n, dim), np.uint8)
    for row in range(n):
        for i in range(dim):
            divisor = norms[row] * (sigma[i] * steps[i])
            unit = residuals[row, i] / divisor if divisor != 0 else np.float32(0)
            if not np.isfinite(unit):
                unit = np.float32(0)
            code = np.floor(unit) + np.float32(levels[i] // 2)
            codes[row, i] = np.uint8(
                min(max(code, np.float32(0)), np.float32(max(levels[i] - 1, 0)))
            )
    return codes


@_kernel()
def _query_planes(query, sigma, dims, count, planes, steps, sums):
    """`reference.query_planes` into the given arrays."""
    for group in range(len(steps)):
        first, last = GROUP * group, min(GROUP * (group + 1), dims)
        largest = np.float32(0)
        for i in range(first, last):
            largest = max(largest, abs(query[i] * sigma[i]))
        step = largest / np.float32(2 ** (count - 1) - 1)
        steps[group] = step
        sums[group] = 0
        for t in range(count):
            planes[group, t] = np.uint64(0)
        if step > 0:
            for i in range(first, last):
                integer = np.int64(np.rint(query[i] * sigma[i] / step))
                sums[group] += integer
                for t in range(count):
                    planes[group, t] |= np.uint64((integer >> t) & 1) << np.uint64(i - first)


@_kernel()
def _prepare(rotated, cells, funnel, stage, count, scratch):
    """Quantise the query for a stage: planes and weight of each word; returns the constant part."""
    planes, steps, sums, word_planes, weights, _, _ = scratch
    _query_planes(rotated, cells.sigma, funnel.dims[stage], count, planes, steps, sums)
    first = funnel.starts[stage]
    shift = np.float32(0)
    for w in range(first, funnel.starts[stage + 1]):
        group = funnel.groups[w]
        weights[w - first] = funnel.coefficients[w] * steps[group]
        shift -= np.float32(0.5) * weights[w - first] * np.float32(sums[group])
        for t in range(count):
            word_planes[t, (w - first) // LANES, (w - first) % LANES] = planes[group, t]
    return shift


@_kernel()
def _refine(block, lane, head, tail, slots, planes, weights, words, sums):
    """The sum over a later stage's words for one row; one instruction works on many words."""
    count = len(slots)
    for w in range(count):
        slot = slots[w]
        word = head[block, slot, lane] if slot >= 0 else tail[block * LANES + lane, ~slot]
        words[w // LANES, w % LANES] = word
    for chunk in range(-(-count // LANES)):
        # A fixed number of turns becomes vector instructions; what lies beyond `count` is not used.
        for i in range(LANES):
            word = words[chunk, i]
            sums[chunk, i] = (
                np.int64(_popcount(word & planes[0, chunk, i]))
                + (np.int64(_popcount(word & planes[1, chunk, i])) << 1)
                + (np.int64(_popcount(word & planes[2, chunk, i])) << 2)
                + (np.int64(_popcount(word & planes[3, chunk, i])) << 3)
                + (np.int64(_popcount(word & planes[4, chunk, i])) << 4)
                - (np.int64(_popcount(word & planes[5, chunk, i])) << 5)
            )
    total = np.float32(0)
    for w in range(count):
        total += weights[w] * np.float32(sums[w // LANES, w % LANES])
    return total


@_kernel()
def _scan_sum(word, p0, p1, p2, p3):
    return (
        np.int64(_popcount(word & p0))
        + (np.int64(_popcount(word & p1)) << 1)
        + (np.int64(_popcount(word & p2)) << 2)
        - (np.int64(_popcount(word & p3)) << 3)
    )


@_kernel()
def _scan_block(block, head, tail, slots, planes, weights, sums):
    """The sums over the first stage's words for the rows of one block, into `sums`."""
    for lane in range(LANES):
        sums[lane] = np.float32(0)
    for w in range(len(slots)):
        slot, weight, chunk, i = slots[w], weights[w], w // LANES, w % LANES
        # Held in registers across the lanes: the loop over lanes becomes vector instructions.
        p0, p1 = planes[0, chunk, i], planes[1, chunk, i]
        p2, p3 = planes[2, chunk, i], planes[3, chunk, i]
        if slot >= 0:
            for lane in range(LANES):
                word = head[block, slot, lane]
                sums[lane] += weight * np.float32(_scan_sum(word, p0, p1, p2, p3))
        else:
            for lane in range(LANES):
                word = tail[block * LANES + lane, ~slot]
                sums[lane] += weight * np.float32(_scan_sum(word, p0, p1, p2, p3))


@_kernel()
def _before(value, key, other_value, other_key):
    return value > other_value or (value == other_value and key < other_key)


@_kernel()
def _swap(values, keys, i, j):
    values[i], values[j] = values[j], values[i]
    keys[i], keys[j] = keys[j], keys[i]


@_kernel()
def _select(values, keys, count, keep):
    """Move the best `keep` of the first `count` to the front, in no order (quickselect)."""
    low, high = 0, count - 1
    while low < high and keep > 0 and keep < count:
        middle = (low + high) // 2
        # Median of three, against runs that are already sorted.
        if _before(values[middle], keys[middle], values[low], keys[low]):
            _swap(values, keys, low, middle)
        if _before(values[high], keys[high], values[low], keys[low]):
            _swap(values, keys, low, high)
        if _before(values[high], keys[high], values[middle], keys[middle]):
            _swap(values, keys, middle, high)
        pivot, pivot_key = values[middle], keys[middle]
        i, j = low, high
        while i <= j:
            while _before(values[i], keys[i], pivot, pivot_key):
                i += 1
            while _before(pivot, pivot_key, values[j], keys[j]):
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


@_kernel()
def _sort(values, keys, count):
    """Best first, in place (Shell sort with Ciura's gaps: some hundred entries at most)."""
    for gap in (1750, 701, 301, 132, 57, 23, 10, 4, 1):
        for i in range(gap, count):
            value, key = values[i], keys[i]
            j = i
            while j >= gap and _before(value, key, values[j - gap], keys[j - gap]):
                values[j], keys[j] = values[j - gap], keys[j - gap]
                j -= gap
            values[j], keys[j] = value, key


@_kernel()
def _probe(scores, counts, probe, k, values, keys):
    """`reference.probe_cells` into the front of `keys`; returns how many."""
    cells = len(scores)
    while True:
        for c in range(cells):
            values[c] = scores[c]
            keys[c] = c
        probe = min(probe, cells)
        _select(values, keys, cells, probe)
        held = 0
        for i in range(probe):
            held += counts[keys[i]]
        if held >= k or probe == cells:
            break
        probe *= 2
    _sort(values, keys, probe)
    return probe


@_kernel()
def _dot(left, right, lanes):
    lanes[:] = 0.0
    whole = len(left) // 8 * 8
    for i in range(0, whole, 8):
        for lane in range(8):
            lanes[lane] += np.float64(left[i + lane]) * np.float64(right[i + lane])
    for i in range(whole, len(left)):
        lanes[i - whole] += np.float64(left[i]) * np.float64(right[i])
    total = 0.0
    for lane in range(8):
        total += lanes[lane]
    return total


@_kernel()
def _scan(probed, cell_scores, cells, funnel, shift, scratch, values, positions):
    """All rows of the probed cells through the first stage; its best come to the front.

    Candidates gather behind the best; when the buffers are full, the best `keep` of them stay and
    the worst of these becomes the threshold. Nothing that could belong to the best is lost.
    """
    # Taken apart once: numba counts a reference for each array taken from a tuple.
    starts, scale, head, tail = cells.starts, cells.scale, cells.head, cells.tail
    _, _, _, planes, weights, _, _ = scratch
    slots = funnel.slots[: funnel.starts[1]]
    keep = funnel.keeps[0]
    threshold = np.float32(-np.inf)
    filled = 0
    sums = np.empty(LANES, np.float32)
    for p in range(len(probed)):
        cell = probed[p]
        if p + 1 < len(probed):
            _prefetch_cell(probed[p + 1], starts, head, scale)
        base = cell_scores[cell]
        for block in range(starts[cell], starts[cell + 1]):
            _scan_block(block, head, tail, slots, planes, weights, sums)
            passed = 0
            for lane in range(LANES):
                sums[lane] = base + scale[block * LANES + lane] * (shift + sums[lane])
                passed += sums[lane] >= threshold  # NaN, an empty place, never passes
            if passed == 0:
                continue
            if filled + LANES > len(values):
                _select(values, positions, filled, keep)
                filled = keep
                threshold = np.float32(values[:keep].min())
            for lane in range(LANES):
                values[filled] = sums[lane]
                positions[filled] = block * LANES + lane
                filled += sums[lane] >= threshold
    _select(values, positions, filled, keep)
    return min(filled, keep)


@_kernel()
def _gather(probed, cells, positions):
    """The positions of all rows in the probed cells, for a plan without coded stages."""
    filled = 0
    for cell in probed:
        first = LANES * cells.starts[cell]
        for i in range(cells.counts[cell]):
            positions[filled] = first + i
            filled += 1
    return filled


@_kernel()
def _narrow(rotated, cell_scores, cells, funnel, stage, scratch, values, positions, filled):
    """Score the first `filled` positions by a later stage; its best come to the front."""
    shift = _prepare(rotated, cells, funnel, stage, REFINE_PLANES, scratch)
    owners, scale, head, tail = cells.owners, cells.scale, cells.head, cells.tail
    _, _, _, planes, weights, words, sums = scratch
    slots = funnel.slots[funnel.starts[stage] : funnel.starts[stage + 1]]
    for i in range(filled):
        if i + _AHEAD < filled:
            _prefetch_place(positions[i + _AHEAD], head, tail)
        block, lane = positions[i] // LANES, positions[i] % LANES
        total = _refine(block, lane, head, tail, slots, planes, weights, words, sums)
        values[i] = cell_scores[owners[block]] + scale[positions[i]] * (shift + total)
    _select(values, positions, filled, funnel.keeps[stage])
    return min(filled, funnel.keeps[stage])


@_kernel()
def _run_stages(rotated, cell_scores, probed, cells, funnel, scratch, values, positions, counts):
    """All coded stages; returns how many positions are left, and counts the rows of each stage."""
    shift = _prepare(rotated, cells, funnel, 0, SCAN_PLANES, scratch)
    filled = _scan(probed, cell_scores, cells, funnel, shift, scratch, values, positions)
    for cell in probed:
        counts[1] += cells.counts[cell]
    for stage in range(1, len(funnel.keeps)):
        counts[1 + stage] = filled
        filled = _narrow(
            rotated, cell_scores, cells, funnel, stage, scratch, values, positions, filled
        )
    return filled


@_kernel()
def _answer(query, cells, vectors, full, k, filled, values, positions, out_rows, out_scores):
    """The best `k` of the first `filled` positions, as rows and scores, best first."""
    rows = cells.rows
    lanes = np.empty(8, np.float64)
    for i in range(filled):
        positions[i] = rows[positions[i]]
    for i in range(filled if full else 0):
        if i + _AHEAD < filled:
            for d in range(0, vectors.shape[1], 16):
                _prefetch(vectors, positions[i + _AHEAD] * vectors.shape[1] + d)
        values[i] = _dot(query, vectors[positions[i]], lanes)
    _select(values, positions, filled, k)
    _sort(values, positions, min(filled, k))
    out_rows[:] = positions[:k]
    out_scores[:] = values[:k]


@_kernel()
def _scratch(dim, words):
    """Room for one query's planes, by group and by word, and for one row's words."""
    groups, chunks = -(-dim // GROUP), -(-words // LANES)
    return (
        np.empty((groups, REFINE_PLANES), np.uint64),
        np.empty(groups, np.float32),
        np.empty(groups, np.int64),
        np.zeros((REFINE_PLANES, chunks, LANES), np.uint64),
        np.empty(words, np.float32),
        np.zeros((chunks, LANES), np.uint64),
        np.empty((chunks, LANES), np.int64),
    )


@_kernel()
def search_batch(
    queries, rotated, cell_scores, cells, funnel, vectors, probe, full, k, rows, scores, counts
):
    """`reference.search_one` for each query, into `rows` and `scores` [q, k] and `counts`."""
    stages = len(funnel.keeps)
    scratch = _scratch(queries.shape[1], len(funnel.slots))
    cell_values, cell_keys = np.empty(len(cells.counts)), np.empty(len(cells.counts), np.int64)
    # Room for as many again as are kept, so that the threshold is renewed by whole buffers.
    room = 2 * funnel.keeps[0] + 1024 if stages else max(k, cells.counts.sum())
    values, positions = np.empty(room), np.empty(room, np.int64)
    counts[:] = 0
    for q in range(len(queries)):
        probes = _probe(cell_scores[q], cells.counts, probe, k, cell_values, cell_keys)
        probed = cell_keys[:probes]
        counts[q, 0] = probes
        if stages:
            filled = _run_stages(
                rotated[q], cell_scores[q], probed, cells, funnel, scratch, values, positions,
                counts[q],
            )  # fmt: skip
        else:
            filled = _gather(probed, cells, positions)
        if full:
            counts[q, 1 + stages] = filled
        _answer(queries[q], cells, vectors, full, k, filled, values, positions, rows[q], scores[q])


def warm_up() -> None:
    """Compile (or load from the cache) every kernel for the one set of types that is used."""
    codes = np.zeros((1, GROUP), np.uint8)
    one = np.ones(GROUP, np.float32)
    levels = np.full(GROUP, 2, np.int64)
    place = np.zeros(1, np.int64)
    quantize_residuals(codes.astype(np.float32), one[:1], one, one, levels)
    words = pack_words(codes, place, place)
    cells = Cells(
        centroids=one[None, :],
        starts=np.array([0, 1]),
        counts=np.ones(1, np.int64),
        owners=np.zeros(1, np.int32),
        rows=np.zeros(LANES, np.int32),
        scale=np.ones(LANES, np.float32),
        head=np.zeros((1, 1, LANES), np.uint64),
        tail=np.repeat(words, LANES, axis=0),
        sigma=one,
    )
    two = np.zeros(2, np.int64)
    funnel = Funnel(
        dims=two + GROUP, keeps=two + 1, starts=np.arange(3), slots=two, groups=two,
        coefficients=one[:2],
    )  # fmt: skip
    rows, scores, counts = np.empty((1, 1), np.int64), np.empty((1, 1)), np.empty((1, 4), np.int64)
    query = one[None, :]
    search_batch(
        query, query, one[None, :1], cells, funnel, query, 1, True, 1, rows, scores, counts
    )
