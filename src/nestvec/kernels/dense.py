"""Inner products with rows of floats or of bytes, kept in registers all along."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nestvec.kernels.emit import (
    BYTES,
    FLOATS,
    HAS_VNNI,
    I32,
    I64,
    INTS,
    VNNI,
    data_of,
    function,
    load,
    registers,
    spread,
    store,
)  # fmt: skip

_DOUBLES = ir.VectorType(ir.DoubleType(), 8)
_EIGHT = ir.VectorType(ir.FloatType(), 8)


def add_four(
    builder: Any, codes: Any, query: Any, first: Any, turn: Any, total: Any, native: bool = HAS_VNNI
) -> None:
    """Adds to `total` the products of 16 rows' next four dimensions, the `turn`-th such."""
    place = builder.add(first, builder.mul(turn, I64(64)))
    four = load(builder, I32, query, builder.mul(turn, I64(4)))
    every = spread(builder, four)
    bytes_ = load(builder, BYTES, codes, place)
    after = builder.load(total)
    if native:
        multiply = function(builder, VNNI, INTS, INTS, INTS, INTS)
        after = builder.call(multiply, [after, builder.bitcast(bytes_, INTS), every])
    else:
        wide = ir.VectorType(I32, 64)
        signed = builder.sext(builder.bitcast(every, BYTES), wide)
        products = builder.mul(builder.zext(bytes_, wide), signed)
        for i in range(4):
            places = ir.Constant(INTS, list(range(i, 64, 4)))
            after = builder.add(after, builder.shuffle_vector(products, products, places))
    builder.store(after, total)


def make_byte_products(native: bool) -> Any:
    """`byte_products` by this processor's own instruction, or in portable steps."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        codes, query, sums = (data_of(context, builder, signature, arguments, i) for i in (0, 2, 3))
        # Two sums in turn: an addition need not wait for the one before.
        totals = registers(builder, INTS, 2)
        pairs = builder.lshr(arguments[4], I64(1))
        with cgutils.for_range(builder, pairs) as loop:
            for which, total in enumerate(totals):
                turn = builder.add(builder.mul(loop.index, I64(2)), I64(which))
                add_four(builder, codes, query, arguments[1], turn, total, native)
        last = builder.shl(pairs, I64(1))
        with builder.if_then(builder.icmp_signed("<", last, arguments[4])):
            add_four(builder, codes, query, arguments[1], last, totals[0], native)
        total = builder.add(*(builder.load(part) for part in totals))
        store(builder, total, sums, I64(0))
        return context.get_dummy_value()

    def byte_products(typing_context, codes, place, query, sums, count):
        return types.void(codes, types.int64, query, sums, types.int64), generate

    return intrinsic(byte_products)


byte_products = make_byte_products(HAS_VNNI)
"""For 16 rows, Σ code · query over `count` fours of dimensions, into int32 `sums` [16].

`codes` are unsigned bytes [four, row, dimension] from flat `place` on, `query` signed ones.
"""


byte_products = make_byte_products(HAS_VNNI)
"""For 16 rows, Σ code · query over `count` fours of dimensions, into int32 `sums` [16].

`codes` are unsigned bytes [four, row, dimension] from flat `place` on, `query` signed ones.
"""


def _make_weighted_rows(columns: int) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weights, matrix, out = (
            data_of(context, builder, signature, arguments, i) for i in (0, 1, 3)
        )
        stride, first, count = arguments[2], arguments[4], arguments[5]
        sums = registers(builder, FLOATS, columns // 16)
        with cgutils.for_range(builder, count) as loop:
            weight = spread(builder, builder.load(builder.gep(weights, [loop.index])))
            row = builder.add(builder.mul(loop.index, stride), first)
            for part, total in enumerate(sums):
                lanes = load(builder, FLOATS, matrix, builder.add(row, I64(16 * part)))
                product = builder.fmul(weight, lanes)
                builder.store(builder.fadd(builder.load(total), product), total)
        for part, total in enumerate(sums):
            store(builder, builder.load(total), out, builder.add(first, I64(16 * part)))
        return context.get_dummy_value()

    def weighted_rows(typing_context, weights, matrix, stride, out, first, count):
        big = types.int64
        return types.void(weights, matrix, big, out, big, big), generate

    return intrinsic(weighted_rows)


weighted_rows = _make_weighted_rows(64)
"""Σ weights[i] · matrix[i, first : first + 64] into `out[first : first + 64]`, rows in order."""

weighted_wide_rows = _make_weighted_rows(256)
"""The same for 256 columns, which fit into the registers and read longer runs."""


def _make_lane_sums(squares: bool) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right, lanes = (data_of(context, builder, signature, arguments, i) for i in (0, 1, 3))
        (total,) = registers(builder, _DOUBLES, 1)
        with cgutils.for_range(builder, arguments[2]) as loop:
            place = builder.mul(loop.index, I64(8))
            a, b = (
                builder.fpext(load(builder, _EIGHT, data, place), _DOUBLES)
                for data in (left, right)
            )
            if squares:
                a = b = builder.fsub(a, b)
            builder.store(builder.fadd(builder.load(total), builder.fmul(a, b)), total)
        store(builder, builder.load(total), lanes, I64(0))
        return context.get_dummy_value()

    def lane_sums(typing_context, left, right, eights, lanes):
        return types.void(left, right, types.int64, lanes), generate

    return intrinsic(lane_sums)


product_sums = _make_lane_sums(squares=False)
"""Σ left · right over `eights` · 8 float32, in float64 by lane, into `lanes` [8]."""

square_sums = _make_lane_sums(squares=True)
"""The same of (left − right)²."""


@intrinsic  # type: ignore[untyped-decorator]
def score_block(
    typing_context: Any, codes: Any, query: Any, fours: Any, block: Any, offset: Any, step: Any,
    weight: Any, steps: Any, priors: Any, spreads: Any, scores: Any, ranks: Any,
) -> Any:  # fmt: skip
    """Scores and ranks of the 16 cells of a block (`reference.score_cells`)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        codes, query = (data_of(context, builder, signature, arguments, i) for i in (0, 1))
        fours, block, offset = arguments[2:5]
        step, weight = (spread(builder, arguments[i]) for i in (5, 6))
        steps, priors, spreads, scores, ranks = (
            data_of(context, builder, signature, arguments, i) for i in range(7, 12)
        )
        place = builder.mul(block, builder.mul(fours, I64(64)))
        totals = registers(builder, INTS, 4)
        whole = builder.lshr(fours, I64(2))
        with cgutils.for_range(builder, whole) as loop:
            for which, total in enumerate(totals):
                turn = builder.add(builder.mul(loop.index, I64(4)), I64(which))
                add_four(builder, codes, query, place, turn, total)
        done = builder.shl(whole, I64(2))
        with cgutils.for_range(builder, builder.sub(fours, done)) as loop:
            turn = builder.add(done, loop.index)
            add_four(builder, codes, query, place, turn, totals[0])
        a, b, c, d = (builder.load(total) for total in totals)
        total = builder.add(builder.add(a, b), builder.add(c, d))
        shift = spread(builder, builder.trunc(offset, I32))
        product = builder.sitofp(builder.sub(total, shift), FLOATS)
        first = builder.mul(block, I64(16))
        score = builder.fmul(load(builder, FLOATS, steps, first), builder.fmul(step, product))
        store(builder, score, scores, first)
        above = builder.fadd(score, load(builder, FLOATS, priors, first))
        wide = builder.fmul(weight, load(builder, FLOATS, spreads, first))
        store(builder, builder.fadd(above, wide), ranks, first)
        return context.get_dummy_value()

    big, one = types.int64, types.float32
    return types.void(
        codes, query, big, big, big, one, one, steps, priors, spreads, scores, ranks
    ), generate  # fmt: skip
