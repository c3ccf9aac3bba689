"""Sums of values that code words choose, looked up in tables of half a byte (FastScan)."""

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nestvec.kernels.emit import (
    BYTES,
    HALVES,
    I8,
    I32,
    I64,
    INTS,
    MASK,
    data_of,
    function,
    join,
    load,
    part_of,
    registers,
    splat,
    spread,
    store,
)  # fmt: skip

_SUMS = ir.VectorType(ir.DoubleType(), 16)

# What looks 16 bytes up in 16 entries at once: feature, LLVM's name, bytes handled together.
_SHUFFLES = (
    ("avx512bw", "llvm.x86.avx512.pshuf.b.512", 64),
    ("avx2", "llvm.x86.avx2.pshuf.b", 32),
    ("ssse3", "llvm.x86.ssse3.pshuf.b.128", 16),
    ("neon", "llvm.aarch64.neon.tbl1.v16i8", 16),
)


def shuffles() -> list[tuple[str, int]]:
    """Names and widths of the byte shuffles that this processor has, widest first."""
    features = llvm.get_host_cpu_features()
    return [(name, width) for feature, name, width in _SHUFFLES if features.get(feature)]


def _look_up(builder: Any, tables: Any, places: Any, shuffle: tuple[str, int] | None) -> Any:
    """Four tables of 16 bytes, each asked for 16 places."""
    if shuffle is None:
        answer = ir.Constant(BYTES, ir.Undefined)
        for lane in range(64):
            place = builder.zext(builder.extract_element(places, I32(lane)), I32)
            entry = builder.extract_element(tables, builder.add(place, I32(lane // 16 * 16)))
            answer = builder.insert_element(answer, entry, I32(lane))
        return answer
    name, width = shuffle
    part = ir.VectorType(I8, width)
    look_up = function(builder, name, part, part, part)
    if width == 64:
        return builder.call(look_up, [tables, places])
    parts = [
        builder.call(
            look_up, [part_of(builder, tables, i, width), part_of(builder, places, i, width)]
        )
        for i in range(0, 64, width)
    ]
    return join(builder, parts)


def table_totals(
    builder: Any, planes: int, shuffle: tuple[str, int] | None, head: Any, block: Any, tables: Any,
    slots: Any, count: Any,
) -> Any:  # fmt: skip
    """What 16 code words of a block look up in the tables, added up: 16 int32."""
    plane_bytes = builder.mul(count, I64(256))
    totals = [registers(builder, HALVES, 2) for _ in range(planes)]
    with cgutils.for_range(builder, count) as loop:
        slot = builder.load(builder.gep(slots, [loop.index]))
        for half in range(2):
            place = builder.add(builder.mul(slot, I64(128)), I64(64 * half))
            codes = load(builder, BYTES, head, builder.add(block, place))
            low = builder.and_(codes, splat(BYTES, 15))
            shifted = builder.lshr(builder.bitcast(codes, HALVES), splat(HALVES, 4))
            high = builder.and_(builder.bitcast(shifted, BYTES), splat(BYTES, 15))
            first = builder.add(builder.mul(loop.index, I64(256)), I64(128 * half))
            for plane, (all_, odd) in enumerate(totals):
                at = builder.add(first, builder.mul(plane_bytes, I64(plane)))
                lows = load(builder, BYTES, tables, at)
                highs = load(builder, BYTES, tables, builder.add(at, I64(64)))
                # Entries are at most 127: two of them fit into a byte.
                both = builder.add(
                    _look_up(builder, lows, low, shuffle),
                    _look_up(builder, highs, high, shuffle),
                )
                pairs = builder.bitcast(both, HALVES)
                builder.store(builder.add(builder.load(all_), pairs), all_)
                tops = builder.lshr(pairs, splat(HALVES, 8))
                builder.store(builder.add(builder.load(odd), tops), odd)
    total = splat(INTS, 0)
    for plane, (all_, odd) in enumerate(totals):
        odds = builder.load(odd)
        evens = builder.sub(builder.load(all_), builder.shl(odds, splat(HALVES, 8)))
        lanes = _interleave(builder, _fold(builder, evens), _fold(builder, odds))
        total = builder.add(total, builder.shl(lanes, splat(INTS, 7 * plane)))
    return total


def make_table_sums(planes: int, shuffle: tuple[str, int] | None) -> Any:
    """`table_sums` for tables of 7 bits (1 plane) or 14 bits (2 planes), by the given shuffle."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        head, tables, slots, sums = (
            data_of(context, builder, signature, arguments, i) for i in (0, 2, 3, 4)
        )
        block, count = arguments[1], arguments[5]
        total = table_totals(builder, planes, shuffle, head, block, tables, slots, count)
        store(builder, total, sums, I64(0))
        return context.get_dummy_value()

    def table_sums(typing_context, head, block, tables, slots, sums, count):
        return types.void(head, types.int64, tables, slots, sums, types.int64), generate

    return intrinsic(table_sums)


def _fold(builder: Any, halves: Any) -> Any:
    """The four quarters of 8 numbers, widened and added up."""
    wide = ir.VectorType(I32, 8)
    quarters = [builder.zext(part_of(builder, halves, i, 8), wide) for i in range(0, 32, 8)]
    return builder.add(builder.add(quarters[0], quarters[1]), builder.add(quarters[2], quarters[3]))


def _interleave(builder: Any, evens: Any, odds: Any) -> Any:
    order = [place for i in range(8) for place in (i, 8 + i)]
    return builder.shuffle_vector(evens, odds, ir.Constant(INTS, order))


BEST_SHUFFLE = next(iter(shuffles()), None)

table_sums = make_table_sums(1, BEST_SHUFFLE)
"""For 16 rows, the sum of the table entries that their code words name; into int32 `sums` [16].

`head` is the flat bytes of all blocks and `block` where the block begins; `slots` are the words'
places in it, `tables` uint8 [planes, words, half, nibble, byte, entry] with entries of at most
127, `count` the number of words: 16-bit sums hold 128 at most.
"""

wide_table_sums = make_table_sums(2, BEST_SHUFFLE)
"""The same with entries of 14 bits: the upper 7 bits of each are in the second plane."""


@intrinsic  # type: ignore[untyped-decorator]
def four_sums(typing_context: Any, values: Any, four: Any, sums: Any) -> Any:
    """All 16 sums of the `four`-th four float32 values, as float64 above the least of them.

    They go to `sums[four]`; returns the least and the largest sum.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, sums = (data_of(context, builder, signature, arguments, i) for i in (0, 2))
        zero, double = ir.Constant(ir.DoubleType(), 0.0), ir.DoubleType()
        blank = splat(_SUMS, 0.0)
        total, least, most = blank, zero, zero
        for i in range(4):
            place = builder.add(builder.mul(arguments[1], I64(4)), I64(i))
            value = builder.fpext(builder.load(builder.gep(values, [place])), double)
            negative = builder.fcmp_ordered("<", value, zero)
            least = builder.fadd(least, builder.select(negative, value, zero))
            most = builder.fadd(most, builder.select(negative, zero, value))
            named = ir.Constant(MASK, [m >> i & 1 for m in range(16)])
            kept = builder.select(named, spread(builder, value), blank)
            total = builder.fadd(total, kept)
        above = builder.fsub(total, spread(builder, least))
        store(builder, above, sums, builder.mul(arguments[1], I64(16)))
        return context.make_tuple(builder, signature.return_type, (least, most))

    pair = types.UniTuple(types.float64, 2)  # type: ignore[attr-defined]
    return pair(values, types.int64, sums), generate


@intrinsic  # type: ignore[untyped-decorator]
def store_entries(
    typing_context: Any, sums: Any, four: Any, step: Any, largest: Any, out: Any, lower: Any,
    upper: Any,
) -> Any:  # fmt: skip
    """`sums[four]` in whole steps: their lower 7 bits from flat `lower` of the uint8 `out` on.

    The next 7 bits go where `upper` says, unless that is 0.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, out = (data_of(context, builder, signature, arguments, i) for i in (0, 4))

        total = load(builder, _SUMS, sums, builder.mul(arguments[1], I64(16)))
        rint = function(builder, "llvm.rint.v16f64", _SUMS, _SUMS)
        steps = builder.call(rint, [builder.fdiv(total, spread(builder, arguments[2]))])
        most = spread(builder, builder.sitofp(arguments[3], ir.DoubleType()))
        steps = builder.select(builder.fcmp_ordered("<", steps, most), steps, most)
        entries = builder.fptosi(steps, INTS)
        kind = ir.VectorType(I8, 16)
        seven = splat(INTS, 127)
        store(builder, builder.trunc(builder.and_(entries, seven), kind), out, arguments[5])
        with builder.if_then(builder.icmp_signed(">", arguments[6], I64(0))):
            tops = builder.lshr(entries, splat(INTS, 7))
            store(builder, builder.trunc(tops, kind), out, arguments[6])
        return context.get_dummy_value()

    big = types.int64
    return types.void(sums, big, types.float64, big, out, big, big), generate
