"""Inner steps that numba's own loops do not turn into good vector code."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nestvec.kernels.emit import (
    BYTES,
    FLOATS,
    HAS_VNNI,
    I8,
    I16,
    I32,
    I64,
    INTS,
    VNNI,
    data_of,
    function,
    load,
    part_of,
    registers,
    splat,
    spread,
    store,
)  # fmt: skip


@intrinsic  # type: ignore[untyped-decorator]
def bound_lanes(
    typing_context: Any, sums: Any, scale: Any, place: Any, base: Any, shift: Any, step: Any,
    out: Any, errors: Any, first: Any, weights: Any,
) -> Any:  # fmt: skip
    """base + scale · (shift + step · sums) + Σ weights · errors, for 16 rows, into `out`.

    `sums` are 16 int32; the scales begin at flat `place`, three bfloat16 of each row at `first`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def data(which: int) -> Any:
            return data_of(context, builder, signature, arguments, which)

        base, shift, step = (spread(builder, arguments[i]) for i in (3, 4, 5))
        sums = builder.sitofp(load(builder, INTS, data(0), I64(0)), FLOATS)
        inner = builder.fadd(shift, builder.fmul(step, sums))
        scales = load(builder, FLOATS, data(1), arguments[2])
        lanes = builder.fadd(base, builder.fmul(scales, inner))
        errors, weights = data(7), data(9)
        total = None
        for part in range(3):
            place = builder.add(arguments[8], I64(16 * part))
            halves = load(builder, ir.VectorType(I16, 16), errors, place)
            # bfloat16 is the upper half of a float32.
            bits = builder.shl(builder.zext(halves, INTS), splat(INTS, 16))
            weight = builder.load(builder.gep(weights, [I64(part)]))
            term = builder.fmul(spread(builder, weight), builder.bitcast(bits, FLOATS))
            total = term if total is None else builder.fadd(total, term)
        store(builder, builder.fadd(lanes, total), data(6), I64(0))
        return context.get_dummy_value()

    one = types.float32
    kinds = sums, scale, types.int64, one, one, one, out, errors, types.int64, weights
    return types.void(*kinds), generate


def make_comparison(ordered: bool) -> Any:
    """Which of 16 float32 `values` from flat `first` on reach the threshold, as bits.

    NaN reaches none if `ordered`, else all.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = data_of(context, builder, signature, arguments, 0)
        compare = builder.fcmp_ordered if ordered else builder.fcmp_unordered
        lanes = load(builder, FLOATS, values, arguments[1])
        reached = compare(">=", lanes, spread(builder, arguments[2]))
        return builder.zext(builder.bitcast(reached, I16), I64)

    def comparison(typing_context, values, first, threshold):
        return types.int64(values, types.int64, types.float32), generate

    return intrinsic(comparison)


not_below = make_comparison(ordered=False)
"""Which of 16 float32 `values` from flat `first` on are not below the threshold: NaN is not."""


@intrinsic  # type: ignore[untyped-decorator]
def selected_sum(
    typing_context: Any, words: Any, row: Any, slots: Any, values: Any, count: Any
) -> Any:
    """Σ of the `values` [count, 64] whose bit is set in words `slots` of the row at flat `row`.

    float32, in 16 lanes: dimension i of a word goes to lane i mod 16, lower ones first, words in
    order; at the end lane halves are added to each other (8 + 8, 4 + 4, 2 + 2, 1 + 1).
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, slots, values = (
            data_of(context, builder, signature, arguments, i) for i in (0, 2, 3)
        )
        zeros = splat(FLOATS, 0.0)
        (total,) = registers(builder, FLOATS, 1)
        with cgutils.for_range(builder, arguments[4]) as loop:
            slot = builder.load(builder.gep(slots, [loop.index]))
            word = builder.load(builder.gep(words, [builder.add(arguments[1], slot)]))
            first = builder.mul(loop.index, I64(64))
            for part in range(4):
                bits = builder.trunc(builder.lshr(word, I64(16 * part)), I16)
                chosen = builder.bitcast(bits, ir.VectorType(ir.IntType(1), 16))
                loaded = load(builder, FLOATS, values, builder.add(first, I64(16 * part)))
                kept = builder.select(chosen, loaded, zeros)
                builder.store(builder.fadd(builder.load(total), kept), total)
        lanes = builder.load(total)
        while lanes.type.count > 1:
            half = lanes.type.count // 2
            lanes = builder.fadd(
                part_of(builder, lanes, 0, half), part_of(builder, lanes, half, half)
            )
        return builder.extract_element(lanes, I32(0))

    return types.float32(words, types.int64, slots, values, types.int64), generate


def make_chosen_sum(native: bool) -> Any:
    """`chosen_sum` by this processor's own instruction, or in portable steps."""
    nothing = splat(BYTES, 0)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, slots, values = (
            data_of(context, builder, signature, arguments, i) for i in (0, 2, 3)
        )
        plane = builder.mul(arguments[4], I64(64))
        totals = registers(builder, INTS, 2)
        with cgutils.for_range(builder, arguments[4]) as loop:
            slot = builder.load(builder.gep(slots, [loop.index]))
            word = builder.load(builder.gep(words, [builder.add(arguments[1], slot)]))
            chosen = builder.bitcast(word, ir.VectorType(ir.IntType(1), 64))
            first = builder.mul(loop.index, I64(64))
            for which, total in enumerate(totals):
                place = builder.add(first, plane) if which else first
                kept = builder.select(chosen, load(builder, BYTES, values, place), nothing)
                builder.store(add_bytes(builder, builder.load(total), kept, bool(which)), total)
        lower, upper = (builder.load(total) for total in totals)
        lanes = builder.add(lower, builder.shl(upper, splat(INTS, 8)))
        while lanes.type.count > 1:
            half = lanes.type.count // 2
            upper = part_of(builder, lanes, half, half)
            lanes = builder.add(part_of(builder, lanes, 0, half), upper)
        return builder.extract_element(lanes, I32(0))

    def add_bytes(builder: Any, total: Any, bytes_: Any, signed: bool) -> Any:
        if native:  # the first factor is unsigned, the second signed
            factors = [splat(BYTES, 1), bytes_] if signed else [bytes_, splat(BYTES, 1)]
            multiply = function(builder, VNNI, INTS, INTS, INTS, INTS)
            return builder.call(multiply, [total, *(builder.bitcast(f, INTS) for f in factors)])
        for quarter in range(4):
            part = part_of(builder, bytes_, 16 * quarter, 16)
            wide = builder.sext(part, INTS) if signed else builder.zext(part, INTS)
            total = builder.add(total, wide)
        return total

    def chosen_sum(typing_context, words, row, slots, values, count):
        return types.int32(words, types.int64, slots, values, types.int64), generate

    return intrinsic(chosen_sum)


chosen_sum = make_chosen_sum(HAS_VNNI)
"""Σ of the whole values whose bit is set in words `slots` of the row at flat `row`, as int32.

`values` [2, count, 64] are the lower bytes of signed 16-bit numbers, then their upper bytes. No sum
of theirs is beyond 32 bits.
"""


@intrinsic  # type: ignore[untyped-decorator]
def lowest_bit(typing_context: Any, bits: Any) -> Any:
    """The place of the lowest set bit; the bits are not all zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of the array's flat `index`, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = data_of(context, builder, signature, arguments, 0)
        byte = I8.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        read, keep, into_data_cache = (I32(value) for value in (0, 3, 1))
        builder.call(function, [place, read, keep, into_data_cache])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate
