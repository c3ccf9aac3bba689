"""Keeping the lanes that reach a threshold, without a branch.

Which rows pass is what no processor predicts: a branch for each costs more than its estimate. Lanes
that pass are moved together inside a register (`vpcompress` where there is one), and all 16 are
stored behind what is kept already: what lies behind the last kept one is overwritten next.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nestvec.kernels.simd import (
    _BEST,
    _FLOATS,
    _I1,
    _I16,
    _I32,
    _I64,
    _INTS,
    _data,
    _load,
    _splat,
    _spread,
    _table_totals,
)

_MASK = ir.VectorType(_I1, 16)
_LANE = ir.Constant(_INTS, list(range(16)))


def _function(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    return cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, list(arguments)), name
    )


def _store(builder: Any, lanes: Any, data: Any, place: Any) -> None:
    to = builder.bitcast(builder.gep(data, [place]), lanes.type.as_pointer())
    builder.store(lanes, to).align = 4


def _keep(
    builder: Any, passed: Any, kept: tuple[tuple[Any, Any], ...], place: Any
) -> Any:
    """Of each vector the lanes that passed, stored from `place` on; the place behind them."""
    for lanes, data in kept:
        kind = lanes.type
        suffix = "f32" if kind == _FLOATS else "i32"
        name = f"llvm.experimental.vector.compress.v16{suffix}"
        compress = _function(builder, name, kind, kind, _MASK, kind)
        together = builder.call(compress, [lanes, passed, ir.Constant(kind, ir.Undefined)])
        _store(builder, together, data, place)
    bits = builder.bitcast(passed, _I16)
    count = builder.call(_function(builder, "llvm.ctpop.i16", _I16, _I16), [bits])
    return builder.add(place, builder.zext(count, _I64))


def _ints(builder: Any, number: Any) -> Any:
    """An int64 in all 16 lanes of int32."""
    one = builder.insert_element(ir.Constant(_INTS, ir.Undefined), builder.trunc(number, _I32), _I32(0))
    return builder.shuffle_vector(one, one, _splat(_INTS, 0))


def _make_pass_block(biased: bool) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def data(which: int) -> Any:
            return _data(context, builder, signature, arguments, which)

        head, block, tables, table, slots, count = (
            data(0), arguments[1], data(2), arguments[3], data(4), arguments[5]
        )  # fmt: skip
        scale, bias, place = data(6), data(7), arguments[8]
        base, shift, step, floor = (_spread(builder, arguments[i]) for i in range(9, 13))
        others = data(13)
        first, own, held, other = arguments[14:18]
        values, keys, at = data(18), data(19), arguments[20]
        tables = builder.gep(tables, [table])
        sums = _table_totals(builder, 1, _BEST, head, block, tables, slots, count)
        inner = builder.fadd(shift, builder.fmul(step, builder.sitofp(sums, _FLOATS)))
        scaled = builder.fmul(_load(builder, _FLOATS, scale, place), inner)
        lanes = builder.fadd(base, scaled)
        if biased:
            lanes = builder.fadd(lanes, _load(builder, _FLOATS, bias, place))
        # NaN, an empty slot, never passes.
        passed = builder.fcmp_ordered(">=", lanes, floor)
        passed = builder.and_(passed, builder.icmp_signed("<", _LANE, _ints(builder, held)))
        home = builder.icmp_signed("<", _LANE, _ints(builder, own))
        guests = builder.and_(passed, builder.not_(home))
        pointer = _INTS.as_pointer()
        load = _function(
            builder, "llvm.masked.load.v16i32.p0", _INTS, pointer, _I32, _MASK, _INTS
        )
        from_ = builder.bitcast(builder.gep(others, [other]), pointer)
        elsewhere = builder.call(load, [from_, _I32(4), guests, _splat(_INTS, 0)])
        here = builder.add(_LANE, _ints(builder, first))
        homes = builder.select(home, here, elsewhere)
        return _keep(builder, passed, ((lanes, values), (homes, keys)), at)

    def pass_block(
        typing_context, head, block, tables, table, slots, count, scale, bias, place, base, shift,
        step, floor, others, first, own, held, other, values, keys, at,
    ):  # fmt: skip
        big, one = types.int64, types.float32
        return big(
            head, big, tables, big, slots, big, scale, bias, big, one, one, one, one, others, big,
            big, big, big, values, keys, big,
        ), generate  # fmt: skip

    return intrinsic(pass_block)


pass_block = _make_pass_block(False)
biased_pass_block = _make_pass_block(True)


@intrinsic  # type: ignore[untyped-decorator]
def count_at_least(
    typing_context: Any, values: Any, first: Any, blocks: Any, threshold: Any
) -> Any:
    """How many of 16 · `blocks` float32 `values` from flat `first` on reach the threshold."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = _data(context, builder, signature, arguments, 0)
        every = _spread(builder, arguments[3])
        total = cgutils.alloca_once(builder, _INTS)
        builder.store(_splat(_INTS, 0), total)
        with cgutils.for_range(builder, arguments[2]) as loop:
            place = builder.add(arguments[1], builder.mul(loop.index, _I64(16)))
            reached = builder.fcmp_ordered(">=", _load(builder, _FLOATS, data, place), every)
            # A true lane is −1.
            counted = builder.sub(builder.load(total), builder.sext(reached, _INTS))
            builder.store(counted, total)
        add = _function(builder, "llvm.vector.reduce.add.v16i32", _I32, _INTS)
        return builder.zext(builder.call(add, [builder.load(total)]), _I64)

    return types.int64(values, types.int64, types.int64, types.float32), generate


@intrinsic  # type: ignore[untyped-decorator]
def keep_at_least(
    typing_context: Any, values: Any, keys: Any, first: Any, blocks: Any, threshold: Any
) -> Any:
    """Move what reaches the threshold, and its keys, to the front, in order; returns how many."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, keys = (_data(context, builder, signature, arguments, i) for i in (0, 1))
        every = _spread(builder, arguments[4])
        kept = cgutils.alloca_once(builder, _I64)
        builder.store(arguments[2], kept)
        with cgutils.for_range(builder, arguments[3]) as loop:
            place = builder.add(arguments[2], builder.mul(loop.index, _I64(16)))
            lanes, names = _load(builder, _FLOATS, values, place), _load(builder, _INTS, keys, place)
            reached = builder.fcmp_ordered(">=", lanes, every)
            pairs = ((lanes, values), (names, keys))
            builder.store(_keep(builder, reached, pairs, builder.load(kept)), kept)
        return builder.sub(builder.load(kept), arguments[2])

    big = types.int64
    return big(values, keys, big, big, types.float32), generate


@intrinsic  # type: ignore[untyped-decorator]
def float_at(typing_context: Any, order: Any) -> Any:
    """The float32 at a place in the order of all: 0 is +0, −1 is −0, 1 the least above 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.trunc(arguments[0], _I32)
        sign = builder.ashr(bits, _I32(31))
        flipped = builder.xor(bits, builder.and_(sign, _I32(0x7FFFFFFF)))
        return builder.bitcast(flipped, ir.FloatType())

    return types.float32(types.int64), generate
