"""The three inner steps that numba's own loops do not turn into good vector code.

Each writes a few lines of LLVM's portable vector language, so that one text serves every processor.
Only the byte shuffle, which is the point of `table_sums`, has another name on each; where there is
none, lanes are looked up one by one, with the same result.
"""

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_BYTES = ir.VectorType(_I8, 64)
_HALVES = ir.VectorType(_I16, 32)
_INTS = ir.VectorType(_I32, 16)
_FLOATS = ir.VectorType(ir.FloatType(), 16)

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


def _splat(kind: ir.VectorType, value: int) -> ir.Constant:
    return ir.Constant(kind, [value] * kind.count)


def _data(context: Any, builder: Any, signature: Any, arguments: Any, which: int) -> Any:
    """The address of an array argument's first number."""
    return context.make_array(signature.args[which])(context, builder, arguments[which]).data


def _load(builder: Any, kind: Any, data: Any, offset: Any) -> Any:
    loaded = builder.load(builder.bitcast(builder.gep(data, [offset]), kind.as_pointer()))
    loaded.align = 1
    return loaded


def _part(builder: Any, vector: Any, first: int, count: int) -> Any:
    places = ir.Constant(ir.VectorType(_I32, count), list(range(first, first + count)))
    return builder.shuffle_vector(vector, vector, places)


def _join(builder: Any, parts: list[Any]) -> Any:
    while len(parts) > 1:
        count = 2 * parts[0].type.count
        places = ir.Constant(ir.VectorType(_I32, count), list(range(count)))
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [builder.shuffle_vector(a, b, places) for a, b in pairs]
    return parts[0]


def _look_up(builder: Any, tables: Any, places: Any, shuffle: tuple[str, int] | None) -> Any:
    """Four tables of 16 bytes, each asked for 16 places."""
    if shuffle is None:
        answer = ir.Constant(_BYTES, ir.Undefined)
        for lane in range(64):
            place = builder.zext(builder.extract_element(places, _I32(lane)), _I32)
            entry = builder.extract_element(tables, builder.add(place, _I32(lane // 16 * 16)))
            answer = builder.insert_element(answer, entry, _I32(lane))
        return answer
    name, width = shuffle
    part = ir.VectorType(_I8, width)
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(part, [part, part]), name
    )
    if width == 64:
        return builder.call(function, [tables, places])
    parts = [
        builder.call(function, [_part(builder, tables, i, width), _part(builder, places, i, width)])
        for i in range(0, 64, width)
    ]
    return _join(builder, parts)


def make_table_sums(planes: int, shuffle: tuple[str, int] | None) -> Any:
    """`table_sums` for tables of 7 bits (1 plane) or 14 bits (2 planes), by the given shuffle."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        head, tables, slots, sums = (
            _data(context, builder, signature, arguments, i) for i in (0, 2, 3, 4)
        )
        block, count = arguments[1], arguments[5]
        plane_bytes = builder.mul(count, _I64(256))
        blank = _splat(_HALVES, 0)
        totals = [
            [cgutils.alloca_once_value(builder, blank) for _ in range(2)] for _ in range(planes)
        ]
        with cgutils.for_range(builder, count) as loop:
            slot = builder.load(builder.gep(slots, [loop.index]))
            for half in range(2):
                place = builder.add(builder.mul(slot, _I64(128)), _I64(64 * half))
                codes = _load(builder, _BYTES, head, builder.add(block, place))
                low = builder.and_(codes, _splat(_BYTES, 15))
                shifted = builder.lshr(builder.bitcast(codes, _HALVES), _splat(_HALVES, 4))
                high = builder.and_(builder.bitcast(shifted, _BYTES), _splat(_BYTES, 15))
                first = builder.add(builder.mul(loop.index, _I64(256)), _I64(128 * half))
                for plane, (all_, odd) in enumerate(totals):
                    at = builder.add(first, builder.mul(plane_bytes, _I64(plane)))
                    lows = _load(builder, _BYTES, tables, at)
                    highs = _load(builder, _BYTES, tables, builder.add(at, _I64(64)))
                    # Entries are at most 127: two of them fit into a byte.
                    both = builder.add(
                        _look_up(builder, lows, low, shuffle),
                        _look_up(builder, highs, high, shuffle),
                    )
                    pairs = builder.bitcast(both, _HALVES)
                    builder.store(builder.add(builder.load(all_), pairs), all_)
                    tops = builder.lshr(pairs, _splat(_HALVES, 8))
                    builder.store(builder.add(builder.load(odd), tops), odd)
        total = _splat(_INTS, 0)
        for plane, (all_, odd) in enumerate(totals):
            odds = builder.load(odd)
            evens = builder.sub(builder.load(all_), builder.shl(odds, _splat(_HALVES, 8)))
            lanes = _interleave(builder, _fold(builder, evens), _fold(builder, odds))
            total = builder.add(total, builder.shl(lanes, _splat(_INTS, 7 * plane)))
        out = builder.store(total, builder.bitcast(sums, _INTS.as_pointer()))
        out.align = 4
        return context.get_dummy_value()

    def table_sums(typing_context, head, block, tables, slots, sums, count):
        return types.void(head, types.int64, tables, slots, sums, types.int64), generate

    return intrinsic(table_sums)


def _fold(builder: Any, halves: Any) -> Any:
    """The four quarters of 8 numbers, widened and added up."""
    wide = ir.VectorType(_I32, 8)
    quarters = [builder.zext(_part(builder, halves, i, 8), wide) for i in range(0, 32, 8)]
    return builder.add(builder.add(quarters[0], quarters[1]), builder.add(quarters[2], quarters[3]))


def _interleave(builder: Any, evens: Any, odds: Any) -> Any:
    order = [place for i in range(8) for place in (i, 8 + i)]
    return builder.shuffle_vector(evens, odds, ir.Constant(_INTS, order))


def make_byte_products(native: bool) -> Any:
    """`byte_products` by this processor's own instruction, or in portable steps."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        codes, query, sums = (_data(context, builder, signature, arguments, i) for i in (0, 2, 3))
        # Two sums in turn: an addition need not wait for the one before.
        totals = [cgutils.alloca_once_value(builder, _splat(_INTS, 0)) for _ in range(2)]
        pairs = builder.lshr(arguments[4], _I64(1))
        with cgutils.for_range(builder, pairs) as loop:
            for which, total in enumerate(totals):
                turn = builder.add(builder.mul(loop.index, _I64(2)), _I64(which))
                add_four(builder, codes, query, arguments[1], turn, total)
        last = builder.shl(pairs, _I64(1))
        with builder.if_then(builder.icmp_signed("<", last, arguments[4])):
            add_four(builder, codes, query, arguments[1], last, totals[0])
        total = builder.add(*(builder.load(part) for part in totals))
        out = builder.store(total, builder.bitcast(sums, _INTS.as_pointer()))
        out.align = 4
        return context.get_dummy_value()

    def add_four(builder: Any, codes: Any, query: Any, first: Any, turn: Any, total: Any) -> None:
        place = builder.add(first, builder.mul(turn, _I64(64)))
        four = _load(builder, _I32, query, builder.mul(turn, _I64(4)))
        one = builder.insert_element(ir.Constant(_INTS, ir.Undefined), four, _I32(0))
        every = builder.shuffle_vector(one, one, _splat(_INTS, 0))
        bytes_ = _load(builder, _BYTES, codes, place)
        after = builder.load(total)
        if native:
            kind = ir.FunctionType(_INTS, [_INTS, _INTS, _INTS])
            name = "llvm.x86.avx512.vpdpbusd.512"
            function = cgutils.get_or_insert_function(builder.module, kind, name)
            after = builder.call(function, [after, builder.bitcast(bytes_, _INTS), every])
        else:
            wide = ir.VectorType(_I32, 64)
            signed = builder.sext(builder.bitcast(every, _BYTES), wide)
            products = builder.mul(builder.zext(bytes_, wide), signed)
            for i in range(4):
                places = ir.Constant(_INTS, list(range(i, 64, 4)))
                after = builder.add(after, builder.shuffle_vector(products, products, places))
        builder.store(after, total)

    def byte_products(typing_context, codes, place, query, sums, count):
        return types.void(codes, types.int64, query, sums, types.int64), generate

    return intrinsic(byte_products)


byte_products = make_byte_products(bool(llvm.get_host_cpu_features().get("avx512vnni")))
"""For 16 rows, Σ code · query over `count` fours of dimensions, into int32 `sums` [16].

`codes` are unsigned bytes [four, row, dimension] from flat `place` on, `query` signed ones.
"""


_BEST = next(iter(shuffles()), None)

table_sums = make_table_sums(1, _BEST)
"""For 16 rows, the sum of the table entries that their code words name; into int32 `sums` [16].

`head` is the flat bytes of all blocks and `block` where the block begins; `slots` are the words'
places in it, `tables` uint8 [planes, words, half, nibble, byte, entry] with entries of at most
127, `count` the number of words: 16-bit sums hold 128 at most.
"""

wide_table_sums = make_table_sums(2, _BEST)
"""The same with entries of 14 bits: the upper 7 bits of each are in the second plane."""


def _spread(builder: Any, number: Any) -> Any:
    """One float32 in all 16 lanes."""
    one = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), number, _I32(0))
    return builder.shuffle_vector(one, one, _splat(_INTS, 0))


def _estimates(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """base + scale · (shift + step · sums), and where to store such."""
    sums, scale, out = (_data(context, builder, signature, arguments, i) for i in (0, 1, 6))
    base, shift, step = (_spread(builder, arguments[i]) for i in (3, 4, 5))
    lanes = builder.sitofp(_load(builder, _INTS, sums, _I64(0)), _FLOATS)
    inner = builder.fadd(shift, builder.fmul(step, lanes))
    scales = _load(builder, _FLOATS, scale, arguments[2])
    return builder.fadd(base, builder.fmul(scales, inner)), out


def _keep(builder: Any, lanes: Any, out: Any) -> None:
    builder.store(lanes, builder.bitcast(out, _FLOATS.as_pointer())).align = 4


@intrinsic  # type: ignore[untyped-decorator]
def estimate_lanes(
    typing_context: Any, sums: Any, scale: Any, place: Any, base: Any, shift: Any, step: Any,
    out: Any,
) -> Any:  # fmt: skip
    """base + scale · (shift + step · sums) for 16 rows, the scales from flat `place` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes, to = _estimates(context, builder, signature, arguments)
        _keep(builder, lanes, to)
        return context.get_dummy_value()

    one = types.float32
    return types.void(sums, scale, types.int64, one, one, one, out), generate


@intrinsic  # type: ignore[untyped-decorator]
def bound_lanes(
    typing_context: Any, sums: Any, scale: Any, place: Any, base: Any, shift: Any, step: Any,
    out: Any, errors: Any, first: Any, weights: Any,
) -> Any:  # fmt: skip
    """`estimate_lanes`, and Σ weights · errors: three bfloat16 for each row from `first` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes, to = _estimates(context, builder, signature, arguments)
        errors, weights = (_data(context, builder, signature, arguments, i) for i in (7, 9))
        total = None
        for part in range(3):
            place = builder.add(arguments[8], _I64(16 * part))
            halves = _load(builder, ir.VectorType(_I16, 16), errors, place)
            # bfloat16 is the upper half of a float32.
            bits = builder.shl(builder.zext(halves, _INTS), _splat(_INTS, 16))
            weight = builder.load(builder.gep(weights, [_I64(part)]))
            term = builder.fmul(_spread(builder, weight), builder.bitcast(bits, _FLOATS))
            total = term if total is None else builder.fadd(total, term)
        _keep(builder, builder.fadd(lanes, total), to)
        return context.get_dummy_value()

    one = types.float32
    kinds = sums, scale, types.int64, one, one, one, out, errors, types.int64, weights
    return types.void(*kinds), generate


def _compare(how: str) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = _data(context, builder, signature, arguments, 0)
        loaded = _load(builder, _FLOATS, data, arguments[1])
        every = _spread(builder, arguments[2])
        compare = builder.fcmp_ordered if how == "ordered" else builder.fcmp_unordered
        return builder.zext(builder.bitcast(compare(">=", loaded, every), _I16), _I64)

    def typed(typing_context, values, first, threshold):
        return types.int64(values, types.int64, types.float32), generate

    return intrinsic(typed)


at_least = _compare("ordered")
"""Which of 16 float32 `values` from flat `first` on reach the threshold, as bits; never NaN."""

not_below = _compare("unordered")
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
        words, slots, values = (_data(context, builder, signature, arguments, i) for i in (0, 2, 3))
        zeros = ir.Constant(_FLOATS, [0.0] * 16)
        total = cgutils.alloca_once_value(builder, zeros)
        with cgutils.for_range(builder, arguments[4]) as loop:
            slot = builder.load(builder.gep(slots, [loop.index]))
            word = builder.load(builder.gep(words, [builder.add(arguments[1], slot)]))
            first = builder.mul(loop.index, _I64(64))
            for part in range(4):
                bits = builder.trunc(builder.lshr(word, _I64(16 * part)), _I16)
                chosen = builder.bitcast(bits, ir.VectorType(ir.IntType(1), 16))
                loaded = _load(builder, _FLOATS, values, builder.add(first, _I64(16 * part)))
                kept = builder.select(chosen, loaded, zeros)
                builder.store(builder.fadd(builder.load(total), kept), total)
        lanes = builder.load(total)
        while lanes.type.count > 1:
            half = lanes.type.count // 2
            lanes = builder.fadd(_part(builder, lanes, 0, half), _part(builder, lanes, half, half))
        return builder.extract_element(lanes, _I32(0))

    return types.float32(words, types.int64, slots, values, types.int64), generate


def make_chosen_sum(native: bool) -> Any:
    """`chosen_sum` by this processor's own instruction, or in portable steps."""
    nothing = _splat(_BYTES, 0)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, slots, values = (_data(context, builder, signature, arguments, i) for i in (0, 2, 3))
        plane = builder.mul(arguments[4], _I64(64))
        totals = [cgutils.alloca_once_value(builder, _splat(_INTS, 0)) for _ in range(2)]
        for total in totals:
            builder.store(_splat(_INTS, 0), total)
        with cgutils.for_range(builder, arguments[4]) as loop:
            slot = builder.load(builder.gep(slots, [loop.index]))
            word = builder.load(builder.gep(words, [builder.add(arguments[1], slot)]))
            chosen = builder.bitcast(word, ir.VectorType(ir.IntType(1), 64))
            first = builder.mul(loop.index, _I64(64))
            for which, total in enumerate(totals):
                place = builder.add(first, plane) if which else first
                kept = builder.select(chosen, _load(builder, _BYTES, values, place), nothing)
                builder.store(add_bytes(builder, builder.load(total), kept, bool(which)), total)
        lower, upper = (builder.load(total) for total in totals)
        lanes = builder.add(lower, builder.shl(upper, _splat(_INTS, 8)))
        while lanes.type.count > 1:
            half = lanes.type.count // 2
            lanes = builder.add(_part(builder, lanes, 0, half), _part(builder, lanes, half, half))
        return builder.extract_element(lanes, _I32(0))

    def add_bytes(builder: Any, total: Any, bytes_: Any, signed: bool) -> Any:
        if native:  # the first factor is unsigned, the second signed
            factors = [_splat(_BYTES, 1), bytes_] if signed else [bytes_, _splat(_BYTES, 1)]
            kind = ir.FunctionType(_INTS, [_INTS, _INTS, _INTS])
            name = "llvm.x86.avx512.vpdpbusd.512"
            function = cgutils.get_or_insert_function(builder.module, kind, name)
            return builder.call(function, [total, *(builder.bitcast(f, _INTS) for f in factors)])
        for quarter in range(4):
            part = _part(builder, bytes_, 16 * quarter, 16)
            wide = builder.sext(part, _INTS) if signed else builder.zext(part, _INTS)
            total = builder.add(total, wide)
        return total

    def chosen_sum(typing_context, words, row, slots, values, count):
        return types.int32(words, types.int64, slots, values, types.int64), generate

    return intrinsic(chosen_sum)


chosen_sum = make_chosen_sum(bool(llvm.get_host_cpu_features().get("avx512vnni")))
"""Σ of the whole values whose bit is set in words `slots` of the row at flat `row`, as int32.

`values` [2, count, 64] are the lower bytes of signed 16-bit numbers, then their upper bytes. No sum
of theirs is beyond 32 bits.
"""


def _make_lane_sums(differences: bool) -> Any:
    """`lane_products`, or `lane_distances`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right, lanes = (_data(context, builder, signature, arguments, i) for i in (0, 1, 3))
        eight, wide = ir.VectorType(ir.FloatType(), 8), ir.VectorType(ir.DoubleType(), 8)
        total = cgutils.alloca_once_value(builder, ir.Constant(wide, [0.0] * 8))
        builder.store(ir.Constant(wide, [0.0] * 8), total)
        with cgutils.for_range(builder, arguments[2]) as loop:
            place = builder.mul(loop.index, _I64(8))
            a, b = (builder.fpext(_load(builder, eight, x, place), wide) for x in (left, right))
            if differences:
                a = b = builder.fsub(a, b)
            builder.store(builder.fadd(builder.load(total), builder.fmul(a, b)), total)
        out = builder.store(builder.load(total), builder.bitcast(lanes, wide.as_pointer()))
        out.align = 8
        return context.get_dummy_value()

    def lane_sums(typing_context, left, right, count, lanes):
        return types.void(left, right, types.int64, lanes), generate

    return intrinsic(lane_sums)


lane_products = _make_lane_sums(False)
"""Σ left · right of the first `count` eights of float32 numbers, lane by lane, as 8 float64."""

lane_distances = _make_lane_sums(True)
"""The same of (left − right)²."""


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
        data = _data(context, builder, signature, arguments, 0)
        byte = _I8.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        read, keep, into_data_cache = (_I32(value) for value in (0, 3, 1))
        builder.call(function, [place, read, keep, into_data_cache])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate
