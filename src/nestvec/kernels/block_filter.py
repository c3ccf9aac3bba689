"""Intrinsics that keep the lanes which reach a threshold, without a branch.

No processor predicts which rows pass: a branch for each costs more than its estimate. Lanes that
pass are moved together inside a register (`vpcompress` where there is one), and all 16 are stored
behind those that passed before; the next store overwrites what lies behind the last of them.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nestvec.kernels.llvm_ops import (
    FLOATS,
    I16,
    I32,
    I64,
    INTS,
    MASK,
    accumulators,
    argument_data,
    broadcast,
    constant,
    llvm_function,
    load_vector,
    store_vector,
    tuple_fields,
)  # fmt: skip
from nestvec.kernels.tables import BEST_SHUFFLE, table_totals

_LANE = ir.Constant(INTS, list(range(16)))


class HeadArrays(NamedTuple):
    """Arrays that a scan reads of all rows, and the tables that it looks their heads up in."""

    head: np.ndarray  # uint8 [blocks, head words · 8, LANES]
    scale: np.ndarray  # float32 [blocks · LANES]
    bias: np.ndarray  # float32 [blocks · LANES or 0]
    spill_record_ids: np.ndarray  # int32
    tables: np.ndarray  # uint8 [tables of all queries], flat
    word_slots: np.ndarray  # int64 [words that are looked up], place among the head words


class BlockRows(NamedTuple):
    """The rows of one block. Lanes are numbered from its first slot."""

    block: int
    first_record: int  # record id of lane 0, where that is a primary row
    n_primary: int  # lanes below are primary rows of the cell
    n_rows: int  # lanes below, if they are not primary rows, are spilled ones
    spill_offset: int  # place of lane 0 in `spill_record_ids`, where that is a spilled row


class EstimateTerms(NamedTuple):
    """Estimate = base + scale · (shift + step · sum of table entries) + bias."""

    base: np.float32  # score of the cell
    shift: np.float32
    step: np.float32
    floor: np.float32  # estimates that reach it pass


class Entries(NamedTuple):
    """Candidates so far: estimates and record ids, for all queries, flat."""

    values: np.ndarray  # float32
    keys: np.ndarray  # int32


def _store_selected(
    builder: Any, mask: Any, pairs: tuple[tuple[Any, Any], ...], position: Any
) -> Any:
    """Store the selected lanes of each vector from `position` on, and return their end."""
    for lanes, data in pairs:
        kind = lanes.type
        suffix = "f32" if kind == FLOATS else "i32"
        name = f"llvm.experimental.vector.compress.v16{suffix}"
        compress = llvm_function(builder, name, kind, kind, MASK, kind)
        together = builder.call(compress, [lanes, mask, ir.Constant(kind, ir.Undefined)])
        store_vector(builder, together, data, position)
    bits = builder.bitcast(mask, I16)
    count = builder.call(llvm_function(builder, "llvm.ctpop.i16", I16, I16), [bits])
    return builder.add(position, builder.zext(count, I64))


@intrinsic  # type: ignore[untyped-decorator]
def filter_block(
    typing_context: Any, arrays: Any, rows: Any, table: Any, terms: Any, entries: Any,
    position: Any,
) -> Any:  # fmt: skip
    """Estimate the scores of a block's 16 rows, and keep those that reach the floor.

    `arrays` are `HeadArrays`, `rows` are `BlockRows`, `terms` are `EstimateTerms`; the query's
    tables begin at flat index `table`. Estimates and record ids go into `entries` (`Entries`) from
    flat `position` on, where there is space for 16. Returns their end.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays, rows, terms, entries = (
            tuple_fields(context, builder, signature.args[i], arguments[i]) for i in (0, 1, 3, 4)
        )
        lanes = _estimates(context, builder, signature.args[0], arguments, arrays, rows, terms)
        # NaN, an empty slot, never passes.
        mask = builder.fcmp_ordered(">=", lanes, broadcast(builder, terms["floor"]))
        mask = builder.and_(mask, _below(builder, rows["n_rows"]))
        primary = _below(builder, rows["n_primary"])
        spilled = builder.and_(mask, builder.not_(primary))
        pointer = builder.gep(arrays["spill_record_ids"], [rows["spill_offset"]])
        pointer = builder.bitcast(pointer, INTS.as_pointer())
        fetch = llvm_function(
            builder, "llvm.masked.load.v16i32.p0", INTS, INTS.as_pointer(), I32, MASK, INTS
        )
        elsewhere = builder.call(fetch, [pointer, I32(4), spilled, constant(INTS, 0)])
        first = broadcast(builder, builder.trunc(rows["first_record"], I32))
        record_ids = builder.select(primary, builder.add(_LANE, first), elsewhere)
        pairs = (lanes, entries["values"]), (record_ids, entries["keys"])
        return _store_selected(builder, mask, pairs, arguments[5])

    big = types.int64
    return big(arrays, rows, big, terms, entries, big), codegen


def _estimates(
    context: Any, builder: Any, arrays_type: Any, arguments: Any, arrays: Any, rows: Any, terms: Any
) -> Any:
    """Estimates of the 16 rows: 16 float32."""
    fields = dict(zip(arrays_type.fields, range(len(arrays_type)), strict=True))

    def array(name: str) -> Any:
        value = builder.extract_value(arguments[0], fields[name])
        return context.make_array(arrays_type[fields[name]])(context, builder, value)

    block_bytes = builder.mul(cgutils.unpack_tuple(builder, array("head").shape, 3)[1], I64(16))
    n_words = array("word_slots").nitems
    tables = builder.gep(arrays["tables"], [arguments[2]])
    sums = table_totals(
        builder, 1, BEST_SHUFFLE, arrays["head"], builder.mul(rows["block"], block_bytes), tables,
        arrays["word_slots"], n_words,
    )  # fmt: skip
    base, shift, step = (broadcast(builder, terms[name]) for name in ("base", "shift", "step"))
    slot = builder.mul(rows["block"], I64(16))
    inner = builder.fadd(shift, builder.fmul(step, builder.sitofp(sums, FLOATS)))
    scaled = builder.fmul(load_vector(builder, FLOATS, arrays["scale"], slot), inner)
    (total,) = accumulators(builder, FLOATS, 1)
    builder.store(builder.fadd(base, scaled), total)
    with builder.if_then(builder.icmp_signed(">", array("bias").nitems, I64(0))):
        bias = load_vector(builder, FLOATS, arrays["bias"], slot)
        builder.store(builder.fadd(builder.load(total), bias), total)
    return builder.load(total)


def _below(builder: Any, count: Any) -> Any:
    """Mask of the lanes whose number is below `count`."""
    return builder.icmp_signed("<", _LANE, broadcast(builder, builder.trunc(count, I32)))


@intrinsic  # type: ignore[untyped-decorator]
def count_at_least(
    typing_context: Any, values: Any, start: Any, blocks: Any, threshold: Any
) -> Any:
    """Count which of 16 · `blocks` float32 `values` from flat `start` on reach the threshold."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (data,) = argument_data(context, builder, signature, arguments, 0)
        thresholds = broadcast(builder, arguments[3])
        (total,) = accumulators(builder, INTS, 1)
        with cgutils.for_range(builder, arguments[2]) as loop:
            offset = builder.add(arguments[1], builder.mul(loop.index, I64(16)))
            lanes = load_vector(builder, FLOATS, data, offset)
            reached = builder.fcmp_ordered(">=", lanes, thresholds)
            # A true lane is −1.
            counted = builder.sub(builder.load(total), builder.sext(reached, INTS))
            builder.store(counted, total)
        add = llvm_function(builder, "llvm.vector.reduce.add.v16i32", I32, INTS)
        return builder.zext(builder.call(add, [builder.load(total)]), I64)

    return types.int64(values, types.int64, types.int64, types.float32), codegen


@intrinsic  # type: ignore[untyped-decorator]
def keep_at_least(
    typing_context: Any, values: Any, keys: Any, start: Any, blocks: Any, threshold: Any
) -> Any:
    """Move the entries that reach the threshold to the front, in order, and return their number.

    The entries are 16 · `blocks` float32 `values` and int32 `keys` from flat `start` on.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, keys = argument_data(context, builder, signature, arguments, 0, 1)
        thresholds = broadcast(builder, arguments[4])
        position = cgutils.alloca_once(builder, I64)
        builder.store(arguments[2], position)
        with cgutils.for_range(builder, arguments[3]) as loop:
            offset = builder.add(arguments[2], builder.mul(loop.index, I64(16)))
            lanes = load_vector(builder, FLOATS, values, offset)
            names = load_vector(builder, INTS, keys, offset)
            reached = builder.fcmp_ordered(">=", lanes, thresholds)
            pairs = ((lanes, values), (names, keys))
            end = _store_selected(builder, reached, pairs, builder.load(position))
            builder.store(end, position)
        return builder.sub(builder.load(position), arguments[2])

    big = types.int64
    return big(values, keys, big, big, types.float32), codegen


@intrinsic  # type: ignore[untyped-decorator]
def float_of_rank(typing_context: Any, rank: Any) -> Any:
    """Return the float32 of a rank in the order of all: 0 is +0, −1 is −0, 1 the least above 0."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.trunc(arguments[0], I32)
        sign = builder.ashr(bits, I32(31))
        flipped = builder.xor(bits, builder.and_(sign, I32(0x7FFFFFFF)))
        return builder.bitcast(flipped, ir.FloatType())

    return types.float32(types.int64), codegen
