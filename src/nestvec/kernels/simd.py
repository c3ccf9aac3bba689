"""Intrinsics for inner steps that numba does not turn into good vector code."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nestvec.kernels.llvm_ops import (
    BYTES,
    FLOATS,
    HAS_VNNI,
    I8,
    I16,
    I32,
    I64,
    INTS,
    VNNI,
    accumulators,
    argument_data,
    broadcast,
    constant,
    llvm_function,
    load_vector,
    store_vector,
    vector_slice,
)  # fmt: skip


@intrinsic  # type: ignore[untyped-decorator]
def bound_lanes(
    typing_context: Any, sums: Any, scale: Any, errors: Any, block: Any, terms: Any, weights: Any,
    out: Any,
) -> Any:  # fmt: skip
    """Compute base + scale · (shift + step · sums) + Σ weights · errors of a block's 16 rows.

    `sums` are 16 int32; `scale` (float32) and `errors` (three bfloat16 a row) are those of all
    blocks; `terms` are base, shift and step.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, scale, errors, weights, out = argument_data(
            context, builder, signature, arguments, 0, 1, 2, 5, 6
        )
        base, shift, step = (
            broadcast(builder, term) for term in cgutils.unpack_tuple(builder, arguments[4], 3)
        )
        total = builder.sitofp(load_vector(builder, INTS, sums, I64(0)), FLOATS)
        inner = builder.fadd(shift, builder.fmul(step, total))
        slot = builder.mul(arguments[3], I64(16))
        scales = load_vector(builder, FLOATS, scale, slot)
        bounds = builder.fadd(base, builder.fmul(scales, inner))
        first_error = builder.mul(arguments[3], I64(48))
        allowance = _weighted_errors(builder, errors, first_error, weights)
        store_vector(builder, builder.fadd(bounds, allowance), out, I64(0))
        return context.get_dummy_value()

    return types.void(sums, scale, errors, types.int64, terms, weights, out), codegen


def _weighted_errors(builder: Any, errors: Any, start: Any, weights: Any) -> Any:
    """Σ weights · errors of 16 rows, which begin at flat `start`, part by part."""
    total = None
    for part in range(3):
        offset = builder.add(start, I64(16 * part))
        halves = load_vector(builder, ir.VectorType(I16, 16), errors, offset)
        # bfloat16 is the upper half of a float32.
        bits = builder.shl(builder.zext(halves, INTS), constant(INTS, 16))
        weight = builder.load(builder.gep(weights, [I64(part)]))
        term = builder.fmul(broadcast(builder, weight), builder.bitcast(bits, FLOATS))
        total = term if total is None else builder.fadd(total, term)
    return total


def make_comparison(ordered: bool) -> Any:
    """Make the comparison of 16 float32 `values` from flat `start` on with a threshold.

    It returns the lanes that reach the threshold as bits. NaN reaches none if `ordered`, else all.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (values,) = argument_data(context, builder, signature, arguments, 0)
        compare = builder.fcmp_ordered if ordered else builder.fcmp_unordered
        lanes = load_vector(builder, FLOATS, values, arguments[1])
        reached = compare(">=", lanes, broadcast(builder, arguments[2]))
        return builder.zext(builder.bitcast(reached, I16), I64)

    def comparison(typing_context, values, start, threshold):
        return types.int64(values, types.int64, types.float32), codegen

    return intrinsic(comparison)


not_below = make_comparison(ordered=False)
"""Bits of the 16 float32 `values` from flat `start` on that are not below the threshold.

NaN is not below it.
"""


@intrinsic  # type: ignore[untyped-decorator]
def selected_sum(
    typing_context: Any, words: Any, row: Any, slots: Any, values: Any, count: Any
) -> Any:
    """Σ of the `values` [count, 64] whose bit is set in words `slots` of the row at flat `row`.

    float32, in 16 lanes: dimension i of a word goes to lane i mod 16, lower ones first, words in
    order; at the end lane halves are added to each other (8 + 8, 4 + 4, 2 + 2, 1 + 1).
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, slots, values = argument_data(context, builder, signature, arguments, 0, 2, 3)
        zeros = constant(FLOATS, 0.0)
        (total,) = accumulators(builder, FLOATS, 1)
        with cgutils.for_range(builder, arguments[4]) as loop:
            slot = builder.load(builder.gep(slots, [loop.index]))
            word = builder.load(builder.gep(words, [builder.add(arguments[1], slot)]))
            start = builder.mul(loop.index, I64(64))
            for part in range(4):
                bits = builder.trunc(builder.lshr(word, I64(16 * part)), I16)
                mask = builder.bitcast(bits, ir.VectorType(ir.IntType(1), 16))
                offset = builder.add(start, I64(16 * part))
                loaded = load_vector(builder, FLOATS, values, offset)
                selected = builder.select(mask, loaded, zeros)
                builder.store(builder.fadd(builder.load(total), selected), total)
        return _sum_lanes(builder, builder.load(total), builder.fadd)

    return types.float32(words, types.int64, slots, values, types.int64), codegen


def _sum_lanes(builder: Any, lanes: Any, add: Any) -> Any:
    """Add lane halves to each other until one number is left."""
    while lanes.type.count > 1:
        half = lanes.type.count // 2
        lanes = add(vector_slice(builder, lanes, 0, half), vector_slice(builder, lanes, half, half))
    return builder.extract_element(lanes, I32(0))


def make_selected_integer_sum(native: bool) -> Any:
    """Make `selected_integer_sum` from an instruction of this processor, or from portable steps."""
    zeros = constant(BYTES, 0)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, slots, values = argument_data(context, builder, signature, arguments, 0, 2, 3)
        plane = builder.mul(arguments[4], I64(64))
        totals = accumulators(builder, INTS, 2)
        with cgutils.for_range(builder, arguments[4]) as loop:
            slot = builder.load(builder.gep(slots, [loop.index]))
            word = builder.load(builder.gep(words, [builder.add(arguments[1], slot)]))
            mask = builder.bitcast(word, ir.VectorType(ir.IntType(1), 64))
            start = builder.mul(loop.index, I64(64))
            for upper, total in enumerate(totals):
                offset = builder.add(start, plane) if upper else start
                loaded = load_vector(builder, BYTES, values, offset)
                selected = builder.select(mask, loaded, zeros)
                sums = add_bytes(builder, builder.load(total), selected, bool(upper))
                builder.store(sums, total)
        lower, upper = (builder.load(total) for total in totals)
        lanes = builder.add(lower, builder.shl(upper, constant(INTS, 8)))
        return _sum_lanes(builder, lanes, builder.add)

    def add_bytes(builder: Any, total: Any, bytes_: Any, signed: bool) -> Any:
        if native:  # the first factor is unsigned, the second signed
            ones = constant(BYTES, 1)
            factors = [ones, bytes_] if signed else [bytes_, ones]
            multiply = llvm_function(builder, VNNI, INTS, INTS, INTS, INTS)
            return builder.call(multiply, [total, *(builder.bitcast(f, INTS) for f in factors)])
        for quarter in range(4):
            part = vector_slice(builder, bytes_, 16 * quarter, 16)
            wide = builder.sext(part, INTS) if signed else builder.zext(part, INTS)
            total = builder.add(total, wide)
        return total

    def selected_integer_sum(typing_context, words, row, slots, values, count):
        return types.int32(words, types.int64, slots, values, types.int64), codegen

    return intrinsic(selected_integer_sum)


selected_integer_sum = make_selected_integer_sum(HAS_VNNI)
"""Σ of the integers whose bit is set in words `slots` of the row at flat `row`, as int32.

`values` [2, count, 64] are the lower bytes of signed 16-bit numbers, then their upper bytes. No sum
of theirs is beyond 32 bits.
"""


@intrinsic  # type: ignore[untyped-decorator]
def lowest_bit(typing_context: Any, bits: Any) -> Any:
    """Return the place of the lowest set bit; at least one bit is set."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of the array's flat `index`, without waiting for it."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (data,) = argument_data(context, builder, signature, arguments, 0)
        byte = I8.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        read, keep, into_data_cache = (I32(value) for value in (0, 3, 1))
        builder.call(function, [address, read, keep, into_data_cache])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen
