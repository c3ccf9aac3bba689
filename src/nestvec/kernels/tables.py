"""Intrinsics that sum table entries named by code words, half a byte at a time (FastScan)."""

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nestvec.kernels.llvm_ops import (
    BYTES,
    HALVES,
    I8,
    I32,
    I64,
    INTS,
    MASK,
    accumulators,
    argument_data,
    broadcast,
    concat,
    constant,
    llvm_function,
    load_vector,
    store_vector,
    vector_slice,
)  # fmt: skip

_SUMS = ir.VectorType(ir.DoubleType(), 16)

# Instructions that look 16 bytes up in 16 entries: feature, LLVM's name, bytes handled together.
_SHUFFLES = (
    ("avx512bw", "llvm.x86.avx512.pshuf.b.512", 64),
    ("avx2", "llvm.x86.avx2.pshuf.b", 32),
    ("ssse3", "llvm.x86.ssse3.pshuf.b.128", 16),
    ("neon", "llvm.aarch64.neon.tbl1.v16i8", 16),
)


def byte_shuffles() -> list[tuple[str, int]]:
    """List names and widths of the byte shuffles that this processor has, widest first."""
    features = llvm.get_host_cpu_features()
    return [(name, width) for feature, name, width in _SHUFFLES if features.get(feature)]


def _look_up(builder: Any, tables: Any, indices: Any, shuffle: tuple[str, int] | None) -> Any:
    """Look 16 indices up in each of four tables of 16 bytes."""
    if shuffle is None:
        entries = ir.Constant(BYTES, ir.Undefined)
        for lane in range(64):
            index = builder.zext(builder.extract_element(indices, I32(lane)), I32)
            entry = builder.extract_element(tables, builder.add(index, I32(lane // 16 * 16)))
            entries = builder.insert_element(entries, entry, I32(lane))
        return entries
    name, width = shuffle
    kind = ir.VectorType(I8, width)
    look_up = llvm_function(builder, name, kind, kind, kind)
    if width == 64:
        return builder.call(look_up, [tables, indices])
    parts = [
        builder.call(
            look_up, [vector_slice(builder, lanes, i, width) for lanes in (tables, indices)]
        )
        for i in range(0, 64, width)
    ]
    return concat(builder, parts)


def table_totals(
    builder: Any, planes: int, shuffle: tuple[str, int] | None, head: Any, block: Any, tables: Any,
    slots: Any, count: Any,
) -> Any:  # fmt: skip
    """Sum the entries that the code words of a block's 16 rows name: 16 int32.

    `block` is the flat index of the block in the head, `count` the number of words; 16-bit sums
    hold 128 of them at most.
    """
    plane_bytes = builder.mul(count, I64(256))
    totals = [accumulators(builder, HALVES, 2) for _ in range(planes)]
    with cgutils.for_range(builder, count) as loop:
        slot = builder.load(builder.gep(slots, [loop.index]))
        for half in range(2):
            offset = builder.add(builder.mul(slot, I64(128)), I64(64 * half))
            codes = load_vector(builder, BYTES, head, builder.add(block, offset))
            low = builder.and_(codes, constant(BYTES, 15))
            shifted = builder.lshr(builder.bitcast(codes, HALVES), constant(HALVES, 4))
            high = builder.and_(builder.bitcast(shifted, BYTES), constant(BYTES, 15))
            start = builder.add(builder.mul(loop.index, I64(256)), I64(128 * half))
            for plane, (pairs_total, odd_total) in enumerate(totals):
                table = builder.add(start, builder.mul(plane_bytes, I64(plane)))
                lows = load_vector(builder, BYTES, tables, table)
                highs = load_vector(builder, BYTES, tables, builder.add(table, I64(64)))
                # Entries are at most 127: two of them fit into a byte.
                sums = builder.add(
                    _look_up(builder, lows, low, shuffle),
                    _look_up(builder, highs, high, shuffle),
                )
                pairs = builder.bitcast(sums, HALVES)
                builder.store(builder.add(builder.load(pairs_total), pairs), pairs_total)
                tops = builder.lshr(pairs, constant(HALVES, 8))
                builder.store(builder.add(builder.load(odd_total), tops), odd_total)
    total = constant(INTS, 0)
    for plane, (pairs_total, odd_total) in enumerate(totals):
        odds = builder.load(odd_total)
        evens = builder.sub(builder.load(pairs_total), builder.shl(odds, constant(HALVES, 8)))
        lanes = _interleave(builder, _widen_and_sum(builder, evens), _widen_and_sum(builder, odds))
        total = builder.add(total, builder.shl(lanes, constant(INTS, 7 * plane)))
    return total


def make_table_sums(planes: int, shuffle: tuple[str, int] | None) -> Any:
    """Make `table_sums` for tables of 7 bits (1 plane) or 14 bits (2 planes), by one shuffle."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        head, tables, slots, sums = argument_data(
            context, builder, signature, arguments, 0, 2, 3, 4
        )
        block, count = arguments[1], arguments[5]
        total = table_totals(builder, planes, shuffle, head, block, tables, slots, count)
        store_vector(builder, total, sums, I64(0))
        return context.get_dummy_value()

    def table_sums(typing_context, head, block, tables, slots, sums, count):
        return types.void(head, types.int64, tables, slots, sums, types.int64), codegen

    return intrinsic(table_sums)


def _widen_and_sum(builder: Any, halves: Any) -> Any:
    """Widen the four quarters of 8 numbers and add them up."""
    wide = ir.VectorType(I32, 8)
    a, b, c, d = (builder.zext(vector_slice(builder, halves, i, 8), wide) for i in range(0, 32, 8))
    return builder.add(builder.add(a, b), builder.add(c, d))


def _interleave(builder: Any, evens: Any, odds: Any) -> Any:
    order = [lane for i in range(8) for lane in (i, 8 + i)]
    return builder.shuffle_vector(evens, odds, ir.Constant(INTS, order))


BEST_SHUFFLE = next(iter(byte_shuffles()), None)
"""The widest byte shuffle that this processor has; None: the portable look-up."""

table_sums = make_table_sums(1, BEST_SHUFFLE)
"""For 16 rows, the sum of the table entries that their code words name; into int32 `sums` [16].

`head` is the flat bytes of all blocks and `block` where the block begins; `slots` are the words'
places in it, `tables` uint8 [planes, words, half, nibble, byte, entry] with entries of at most
127, `count` the number of words: 16-bit sums hold 128 at most.
"""

wide_table_sums = make_table_sums(2, BEST_SHUFFLE)
"""The same with entries of 14 bits: the upper 7 bits of each are in the second plane."""


@intrinsic  # type: ignore[untyped-decorator]
def nibble_sums(typing_context: Any, values: Any, index: Any, sums: Any) -> Any:
    """Compute the 16 sums of the `index`-th four float32 values, as float64 above the least.

    They go to `sums[index]`; returns the least and the largest sum.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, sums = argument_data(context, builder, signature, arguments, 0, 2)
        zero, double = ir.Constant(ir.DoubleType(), 0.0), ir.DoubleType()
        blank = constant(_SUMS, 0.0)
        total, lowest, highest = blank, zero, zero
        for i in range(4):
            offset = builder.add(builder.mul(arguments[1], I64(4)), I64(i))
            value = builder.fpext(builder.load(builder.gep(values, [offset])), double)
            negative = builder.fcmp_ordered("<", value, zero)
            lowest = builder.fadd(lowest, builder.select(negative, value, zero))
            highest = builder.fadd(highest, builder.select(negative, zero, value))
            mask = ir.Constant(MASK, [m >> i & 1 for m in range(16)])
            selected = builder.select(mask, broadcast(builder, value), blank)
            total = builder.fadd(total, selected)
        above_lowest = builder.fsub(total, broadcast(builder, lowest))
        store_vector(builder, above_lowest, sums, builder.mul(arguments[1], I64(16)))
        return context.make_tuple(builder, signature.return_type, (lowest, highest))

    pair = types.UniTuple(types.float64, 2)  # type: ignore[attr-defined]
    return pair(values, types.int64, sums), codegen


@intrinsic  # type: ignore[untyped-decorator]
def store_table_entries(
    typing_context: Any, sums: Any, index: Any, step: Any, largest: Any, out: Any, lower: Any,
    upper: Any,
) -> Any:  # fmt: skip
    """Store `sums[index]` as numbers of steps: the lower 7 bits from flat `lower` of `out` on.

    The next 7 bits go to flat `upper`, unless that is 0. `out` is uint8.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, out = argument_data(context, builder, signature, arguments, 0, 4)
        total = load_vector(builder, _SUMS, sums, builder.mul(arguments[1], I64(16)))
        rint = llvm_function(builder, "llvm.rint.v16f64", _SUMS, _SUMS)
        steps = builder.call(rint, [builder.fdiv(total, broadcast(builder, arguments[2]))])
        limit = broadcast(builder, builder.sitofp(arguments[3], ir.DoubleType()))
        steps = builder.select(builder.fcmp_ordered("<", steps, limit), steps, limit)
        entries = builder.fptosi(steps, INTS)
        kind = ir.VectorType(I8, 16)
        seven = constant(INTS, 127)
        store_vector(builder, builder.trunc(builder.and_(entries, seven), kind), out, arguments[5])
        with builder.if_then(builder.icmp_signed(">", arguments[6], I64(0))):
            tops = builder.lshr(entries, constant(INTS, 7))
            store_vector(builder, builder.trunc(tops, kind), out, arguments[6])
        return context.get_dummy_value()

    big = types.int64
    return types.void(sums, big, types.float64, big, out, big, big), codegen
