"""Keeping the lanes that reach a threshold, without a branch.

Which rows pass is what no processor predicts: a branch for each costs more than its estimate. Lanes
that pass are moved together inside a register (`vpcompress` where there is one), and all 16 are
stored behind what is kept already: what lies behind the last kept one is overwritten next.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nestvec.kernels.emit import (
    FLOATS,
    I16,
    I32,
    I64,
    INTS,
    MASK,
    data_of,
    function,
    load,
    registers,
    splat,
    spread,
    store,
)  # fmt: skip
from nestvec.kernels.tables import BEST_SHUFFLE, table_totals

_LANE = ir.Constant(INTS, list(range(16)))


def _keep(builder: Any, passed: Any, kept: tuple[tuple[Any, Any], ...], place: Any) -> Any:
    """Of each vector the lanes that passed, stored from `place` on; the place behind them."""
    for lanes, data in kept:
        kind = lanes.type
        suffix = "f32" if kind == FLOATS else "i32"
        name = f"llvm.experimental.vector.compress.v16{suffix}"
        compress = function(builder, name, kind, kind, MASK, kind)
        together = builder.call(compress, [lanes, passed, ir.Constant(kind, ir.Undefined)])
        store(builder, together, data, place)
    bits = builder.bitcast(passed, I16)
    count = builder.call(function(builder, "llvm.ctpop.i16", I16, I16), [bits])
    return builder.add(place, builder.zext(count, I64))


@intrinsic  # type: ignore[untyped-decorator]
def pass_block(
    typing_context: Any, head: Any, block: Any, tables: Any, table: Any, slots: Any, count: Any,
    scale: Any, bias: Any, place: Any, base: Any, shift: Any, step: Any, floor: Any, others: Any,
    first: Any, own: Any, held: Any, other: Any, values: Any, keys: Any, at: Any,
) -> Any:  # fmt: skip
    """Estimates of a block's 16 rows; those that reach `floor`, and their homes, are kept.

    The estimate is base + scale · (shift + step · what `count` words at `slots` name in the tables
    from flat `table` on) + bias, if there are any; `block` is where the head begins, `place` where
    scales and biases do. Lanes below `own` are at home in the cell, from home `first` on; further
    ones below `held` have their homes in `others` from flat `other` on (there lane 0's would be).
    What passes goes to `values` and `keys` from flat `at` on, where there is room for 16; returns
    where it ends.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def data(which: int) -> Any:
            return data_of(context, builder, signature, arguments, which)

        def every(which: int) -> Any:
            number = arguments[which]
            return spread(builder, number if which in floats else builder.trunc(number, I32))

        floats = range(9, 13)
        base, shift, step, floor = (every(which) for which in floats)
        tables = builder.gep(data(2), [arguments[3]])
        sums = table_totals(
            builder, 1, BEST_SHUFFLE, data(0), arguments[1], tables, data(4), arguments[5]
        )
        inner = builder.fadd(shift, builder.fmul(step, builder.sitofp(sums, FLOATS)))
        scaled = builder.fmul(load(builder, FLOATS, data(6), arguments[8]), inner)
        (total,) = registers(builder, FLOATS, 1)
        builder.store(builder.fadd(base, scaled), total)
        biases = context.make_array(signature.args[7])(context, builder, arguments[7])
        with builder.if_then(builder.icmp_signed(">", biases.nitems, I64(0))):
            bias = load(builder, FLOATS, biases.data, arguments[8])
            builder.store(builder.fadd(builder.load(total), bias), total)
        lanes = builder.load(total)
        # NaN, an empty slot, never passes.
        passed = builder.fcmp_ordered(">=", lanes, floor)
        passed = builder.and_(passed, builder.icmp_signed("<", _LANE, every(16)))
        home = builder.icmp_signed("<", _LANE, every(15))
        guests = builder.and_(passed, builder.not_(home))
        others = builder.bitcast(builder.gep(data(13), [arguments[17]]), INTS.as_pointer())
        fetch = function(
            builder, "llvm.masked.load.v16i32.p0", INTS, INTS.as_pointer(), I32, MASK, INTS
        )
        elsewhere = builder.call(fetch, [others, I32(4), guests, splat(INTS, 0)])
        homes = builder.select(home, builder.add(_LANE, every(14)), elsewhere)
        return _keep(builder, passed, ((lanes, data(18)), (homes, data(19))), arguments[20])

    big, one = types.int64, types.float32
    return big(
        head, big, tables, big, slots, big, scale, bias, big, one, one, one, one, others, big, big,
        big, big, values, keys, big,
    ), generate  # fmt: skip


@intrinsic  # type: ignore[untyped-decorator]
def count_at_least(
    typing_context: Any, values: Any, first: Any, blocks: Any, threshold: Any
) -> Any:
    """How many of 16 · `blocks` float32 `values` from flat `first` on reach the threshold."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = data_of(context, builder, signature, arguments, 0)
        every = spread(builder, arguments[3])
        (total,) = registers(builder, INTS, 1)
        with cgutils.for_range(builder, arguments[2]) as loop:
            place = builder.add(arguments[1], builder.mul(loop.index, I64(16)))
            reached = builder.fcmp_ordered(">=", load(builder, FLOATS, data, place), every)
            # A true lane is −1.
            counted = builder.sub(builder.load(total), builder.sext(reached, INTS))
            builder.store(counted, total)
        add = function(builder, "llvm.vector.reduce.add.v16i32", I32, INTS)
        return builder.zext(builder.call(add, [builder.load(total)]), I64)

    return types.int64(values, types.int64, types.int64, types.float32), generate


@intrinsic  # type: ignore[untyped-decorator]
def keep_at_least(
    typing_context: Any, values: Any, keys: Any, first: Any, blocks: Any, threshold: Any
) -> Any:
    """Move what reaches the threshold, and its keys, to the front, in order; returns how many."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, keys = (data_of(context, builder, signature, arguments, i) for i in (0, 1))
        every = spread(builder, arguments[4])
        kept = cgutils.alloca_once(builder, I64)
        builder.store(arguments[2], kept)
        with cgutils.for_range(builder, arguments[3]) as loop:
            place = builder.add(arguments[2], builder.mul(loop.index, I64(16)))
            lanes = load(builder, FLOATS, values, place)
            names = load(builder, INTS, keys, place)
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
        bits = builder.trunc(arguments[0], I32)
        sign = builder.ashr(bits, I32(31))
        flipped = builder.xor(bits, builder.and_(sign, I32(0x7FFFFFFF)))
        return builder.bitcast(flipped, ir.FloatType())

    return types.float32(types.int64), generate
