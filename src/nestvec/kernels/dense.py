"""Inner products of float32 rows, and of centroids with a query, kept in registers all along."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nestvec.kernels.simd import _FLOATS, _I32, _I64, _INTS, _data, _load, _spread, _splat, _add_four

_DOUBLES = ir.VectorType(ir.DoubleType(), 8)
_EIGHT = ir.VectorType(ir.FloatType(), 8)


def _store(builder: Any, lanes: Any, data: Any, place: Any) -> None:
    to = builder.bitcast(builder.gep(data, [place]), lanes.type.as_pointer())
    builder.store(lanes, to).align = 1


def _sums(builder: Any, kind: Any, count: int) -> list[Any]:
    """Registers that are 0 whenever control comes here."""
    sums = [cgutils.alloca_once(builder, kind) for _ in range(count)]
    for each in sums:
        builder.store(ir.Constant(kind, [0.0] * kind.count), each)
    return sums


def _make_weighted_rows(columns: int) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weights, matrix, out = (_data(context, builder, signature, arguments, i) for i in (0, 1, 3))
        stride, first, count = arguments[2], arguments[4], arguments[5]
        sums = _sums(builder, _FLOATS, columns // 16)
        with cgutils.for_range(builder, count) as loop:
            weight = _spread(builder, builder.load(builder.gep(weights, [loop.index])))
            row = builder.add(builder.mul(loop.index, stride), first)
            for part, total in enumerate(sums):
                lanes = _load(builder, _FLOATS, matrix, builder.add(row, _I64(16 * part)))
                product = builder.fmul(weight, lanes)
                builder.store(builder.fadd(builder.load(total), product), total)
        for part, total in enumerate(sums):
            _store(builder, builder.load(total), out, builder.add(first, _I64(16 * part)))
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
        left, right, lanes = (_data(context, builder, signature, arguments, i) for i in (0, 1, 3))
        (total,) = _sums(builder, _DOUBLES, 1)
        with cgutils.for_range(builder, arguments[2]) as loop:
            place = builder.mul(loop.index, _I64(8))
            a, b = (
                builder.fpext(_load(builder, _EIGHT, data, place), _DOUBLES)
                for data in (left, right)
            )
            if squares:
                a = b = builder.fsub(a, b)
            builder.store(builder.fadd(builder.load(total), builder.fmul(a, b)), total)
        _store(builder, builder.load(total), lanes, _I64(0))
        return context.get_dummy_value()

    def lane_sums(typing_context, left, right, eights, lanes):
        return types.void(left, right, types.int64, lanes), generate

    return intrinsic(lane_sums)


product_sums = _make_lane_sums(squares=False)
square_sums = _make_lane_sums(squares=True)


@intrinsic  # type: ignore[untyped-decorator]
def score_block(
    typing_context: Any, codes: Any, query: Any, fours: Any, block: Any, offset: Any, step: Any,
    weight: Any, steps: Any, priors: Any, spreads: Any, scores: Any, ranks: Any,
) -> Any:  # fmt: skip
    """Scores and ranks of the 16 cells of a block (`reference.score_cells`)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        codes, query = (_data(context, builder, signature, arguments, i) for i in (0, 1))
        fours, block, offset = arguments[2:5]
        step, weight = (_spread(builder, arguments[i]) for i in (5, 6))
        steps, priors, spreads, scores, ranks = (
            _data(context, builder, signature, arguments, i) for i in range(7, 12)
        )
        place = builder.mul(block, builder.mul(fours, _I64(64)))
        totals = [cgutils.alloca_once(builder, _INTS) for _ in range(4)]
        for total in totals:
            builder.store(_splat(_INTS, 0), total)
        whole = builder.lshr(fours, _I64(2))
        with cgutils.for_range(builder, whole) as loop:
            for which, total in enumerate(totals):
                turn = builder.add(builder.mul(loop.index, _I64(4)), _I64(which))
                _add_four(builder, codes, query, place, turn, total)
        done = builder.shl(whole, _I64(2))
        with cgutils.for_range(builder, builder.sub(fours, done)) as loop:
            turn = builder.add(done, loop.index)
            _add_four(builder, codes, query, place, turn, totals[0])
        a, b, c, d = (builder.load(total) for total in totals)
        total = builder.add(builder.add(a, b), builder.add(c, d))
        one = builder.insert_element(
            ir.Constant(_INTS, ir.Undefined), builder.trunc(offset, _I32), _I32(0)
        )
        shift = builder.shuffle_vector(one, one, _splat(_INTS, 0))
        product = builder.sitofp(builder.sub(total, shift), _FLOATS)
        first = builder.mul(block, _I64(16))
        score = builder.fmul(_load(builder, _FLOATS, steps, first), builder.fmul(step, product))
        _store(builder, score, scores, first)
        above = builder.fadd(score, _load(builder, _FLOATS, priors, first))
        spread = builder.fmul(weight, _load(builder, _FLOATS, spreads, first))
        _store(builder, builder.fadd(above, spread), ranks, first)
        return context.get_dummy_value()

    big, one = types.int64, types.float32
    return types.void(
        codes, query, big, big, big, one, one, steps, priors, spreads, scores, ranks
    ), generate  # fmt: skip


_SUMS = ir.VectorType(ir.DoubleType(), 16)


@intrinsic  # type: ignore[untyped-decorator]
def four_sums(typing_context: Any, values: Any, four: Any, sums: Any) -> Any:
    """All 16 sums of the `four`-th four float32 values, as float64 above the least of them.

    They go to `sums[four]`; returns the least and the largest sum.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, sums = (_data(context, builder, signature, arguments, i) for i in (0, 2))
        zero, double = ir.Constant(ir.DoubleType(), 0.0), ir.DoubleType()
        blank = ir.Constant(_SUMS, [0.0] * 16)
        total, least, most = blank, zero, zero
        for i in range(4):
            place = builder.add(builder.mul(arguments[1], _I64(4)), _I64(i))
            value = builder.fpext(builder.load(builder.gep(values, [place])), double)
            negative = builder.fcmp_ordered("<", value, zero)
            least = builder.fadd(least, builder.select(negative, value, zero))
            most = builder.fadd(most, builder.select(negative, zero, value))
            one = builder.insert_element(ir.Constant(_SUMS, ir.Undefined), value, _I32(0))
            every = builder.shuffle_vector(one, one, _splat(_INTS, 0))
            named = ir.Constant(ir.VectorType(ir.IntType(1), 16), [m >> i & 1 for m in range(16)])
            total = builder.fadd(total, builder.select(named, every, blank))
        one = builder.insert_element(ir.Constant(_SUMS, ir.Undefined), least, _I32(0))
        above = builder.fsub(total, builder.shuffle_vector(one, one, _splat(_INTS, 0)))
        _store(builder, above, sums, builder.mul(arguments[1], _I64(16)))
        return context.make_tuple(builder, signature.return_type, (least, most))

    return types.UniTuple(types.float64, 2)(values, types.int64, sums), generate


@intrinsic  # type: ignore[untyped-decorator]
def store_entries(
    typing_context: Any, sums: Any, four: Any, step: Any, largest: Any, out: Any, lower: Any,
    upper: Any,
) -> Any:  # fmt: skip
    """`sums[four]` in whole steps: their lower 7 bits from flat `lower` of the uint8 `out` on.

    The next 7 bits go where `upper` says, unless that is 0.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, out = (_data(context, builder, signature, arguments, i) for i in (0, 4))

        def every(number: Any) -> Any:
            one = builder.insert_element(ir.Constant(_SUMS, ir.Undefined), number, _I32(0))
            return builder.shuffle_vector(one, one, _splat(_INTS, 0))

        total = _load(builder, _SUMS, sums, builder.mul(arguments[1], _I64(16)))
        rint = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_SUMS, [_SUMS]), "llvm.rint.v16f64"
        )
        steps = builder.call(rint, [builder.fdiv(total, every(arguments[2]))])
        most = every(builder.sitofp(arguments[3], ir.DoubleType()))
        steps = builder.select(builder.fcmp_ordered("<", steps, most), steps, most)
        entries = builder.fptosi(steps, _INTS)
        kind = ir.VectorType(ir.IntType(8), 16)
        seven = _splat(_INTS, 127)
        _store(builder, builder.trunc(builder.and_(entries, seven), kind), out, arguments[5])
        with builder.if_then(builder.icmp_signed(">", arguments[6], _I64(0))):
            tops = builder.lshr(entries, _splat(_INTS, 7))
            _store(builder, builder.trunc(tops, kind), out, arguments[6])
        return context.get_dummy_value()

    big = types.int64
    return types.void(sums, big, types.float64, big, out, big, big), generate
