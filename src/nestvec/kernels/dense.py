"""Intrinsics for inner products with rows of floats or of bytes, with sums in registers."""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nestvec.kernels.llvm_ops import (
    BYTES,
    FLOATS,
    HAS_VNNI,
    I32,
    I64,
    INTS,
    VNNI,
    accumulators,
    argument_data,
    broadcast,
    llvm_function,
    load_vector,
    store_vector,
    tuple_fields,
)  # fmt: skip

_DOUBLES = ir.VectorType(ir.DoubleType(), 8)
_EIGHT_FLOATS = ir.VectorType(ir.FloatType(), 8)


def add_four_dims(
    builder: Any, codes: Any, query: Any, start: Any, index: Any, total: Any,
    native: bool = HAS_VNNI,
) -> None:  # fmt: skip
    """Add the products of 16 rows' group of four dimensions number `index` to `total`."""
    four = load_vector(builder, I32, query, builder.mul(index, I64(4)))
    factors = broadcast(builder, four)
    bytes_ = load_vector(builder, BYTES, codes, builder.add(start, builder.mul(index, I64(64))))
    sums = builder.load(total)
    if native:
        multiply = llvm_function(builder, VNNI, INTS, INTS, INTS, INTS)
        sums = builder.call(multiply, [sums, builder.bitcast(bytes_, INTS), factors])
    else:
        wide = ir.VectorType(I32, 64)
        signed = builder.sext(builder.bitcast(factors, BYTES), wide)
        products = builder.mul(builder.zext(bytes_, wide), signed)
        for i in range(4):
            lanes = ir.Constant(INTS, list(range(i, 64, 4)))
            sums = builder.add(sums, builder.shuffle_vector(products, products, lanes))
    builder.store(sums, total)


def make_byte_products(native: bool) -> Any:
    """Make `byte_products` from an instruction of this processor, or from portable steps."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        codes, query, sums = argument_data(context, builder, signature, arguments, 0, 2, 3)
        # Two sums in turn: an addition need not wait for the one before.
        totals = accumulators(builder, INTS, 2)
        pairs = builder.lshr(arguments[4], I64(1))
        with cgutils.for_range(builder, pairs) as loop:
            for parity, total in enumerate(totals):
                index = builder.add(builder.mul(loop.index, I64(2)), I64(parity))
                add_four_dims(builder, codes, query, arguments[1], index, total, native)
        last = builder.shl(pairs, I64(1))
        with builder.if_then(builder.icmp_signed("<", last, arguments[4])):
            add_four_dims(builder, codes, query, arguments[1], last, totals[0], native)
        total = builder.add(*(builder.load(part) for part in totals))
        store_vector(builder, total, sums, I64(0))
        return context.get_dummy_value()

    def byte_products(typing_context, codes, start, query, sums, count):
        return types.void(codes, types.int64, query, sums, types.int64), codegen

    return intrinsic(byte_products)


byte_products = make_byte_products(HAS_VNNI)
"""For 16 rows, Σ code · query over `count` groups of four dimensions, into int32 `sums` [16].

`codes` are unsigned bytes [group of four, row, dimension] from flat `start` on, `query` signed
ones.
"""


def _make_weighted_rows(columns: int) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weights, matrix, out = argument_data(context, builder, signature, arguments, 0, 1, 3)
        stride, first_column, count = arguments[2], arguments[4], arguments[5]
        sums = accumulators(builder, FLOATS, columns // 16)
        with cgutils.for_range(builder, count) as loop:
            weight = broadcast(builder, builder.load(builder.gep(weights, [loop.index])))
            start = builder.add(builder.mul(loop.index, stride), first_column)
            for part, total in enumerate(sums):
                offset = builder.add(start, I64(16 * part))
                product = builder.fmul(weight, load_vector(builder, FLOATS, matrix, offset))
                builder.store(builder.fadd(builder.load(total), product), total)
        for part, total in enumerate(sums):
            offset = builder.add(first_column, I64(16 * part))
            store_vector(builder, builder.load(total), out, offset)
        return context.get_dummy_value()

    def weighted_rows(typing_context, weights, matrix, stride, out, first_column, count):
        big = types.int64
        return types.void(weights, matrix, big, out, big, big), codegen

    return intrinsic(weighted_rows)


weighted_rows = _make_weighted_rows(64)
"""Σ weights[i] · matrix[i, c : c + 64] into `out[c : c + 64]`, rows in order.

c is `first_column`.
"""

weighted_wide_rows = _make_weighted_rows(256)
"""The same for 256 columns, which fit into the registers and read longer runs."""


def _make_lane_dot_products(differences: bool) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first, second, lanes = argument_data(context, builder, signature, arguments, 0, 1, 3)
        (total,) = accumulators(builder, _DOUBLES, 1)
        with cgutils.for_range(builder, arguments[2]) as loop:
            offset = builder.mul(loop.index, I64(8))
            a, b = (
                builder.fpext(load_vector(builder, _EIGHT_FLOATS, data, offset), _DOUBLES)
                for data in (first, second)
            )
            if differences:
                a = b = builder.fsub(a, b)
            builder.store(builder.fadd(builder.load(total), builder.fmul(a, b)), total)
        store_vector(builder, builder.load(total), lanes, I64(0))
        return context.get_dummy_value()

    def lane_dot_products(typing_context, a, b, eights, lanes):
        return types.void(a, b, types.int64, lanes), codegen

    return intrinsic(lane_dot_products)


product_sums = _make_lane_dot_products(differences=False)
"""Σ a · b over `eights` · 8 float32, in float64 by lane, into `lanes` [8]."""

square_sums = _make_lane_dot_products(differences=True)
"""The same of (a − b)²."""


class CellArrays(NamedTuple):
    """Arrays that cells are scored and ranked by (`layout.Cells`)."""

    centroids: np.ndarray  # uint8 [blocks, groups of four, LANES, 4]
    steps: np.ndarray  # float32 [blocks · LANES], as the following
    priors: np.ndarray
    spreads: np.ndarray


class RoundedQuery(NamedTuple):
    """A query in integer steps, and what turns integer products into scores and ranks."""

    offset: np.int64  # 128 Σ entries: centroids are stored plus 128
    step: np.float32  # value of 1
    weight: np.float32  # of a cell's spread


@intrinsic  # type: ignore[untyped-decorator]
def score_block(
    typing_context: Any, cells: Any, block: Any, quads: Any, entries: Any, query: Any, scores: Any,
    ranks: Any,
) -> Any:  # fmt: skip
    """Compute the scores and ranks of the 16 cells of a block (`reference.score_cells`).

    `cells` are `CellArrays`; `entries` are the int8 entries of the `query` (`RoundedQuery`), whole
    groups of four, `quads` in number.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        cells, terms = (
            tuple_fields(context, builder, signature.args[i], arguments[i]) for i in (0, 4)
        )
        query, scores, ranks = argument_data(context, builder, signature, arguments, 3, 5, 6)
        block, quads = arguments[1:3]
        start = builder.mul(block, builder.mul(quads, I64(64)))
        total = _integer_products(builder, cells["centroids"], query, start, quads)
        offset = broadcast(builder, builder.trunc(terms["offset"], I32))
        product = builder.sitofp(builder.sub(total, offset), FLOATS)
        lane = builder.mul(block, I64(16))
        steps, priors, spreads = (
            load_vector(builder, FLOATS, cells[name], lane)
            for name in ("steps", "priors", "spreads")
        )
        step, weight = (broadcast(builder, terms[name]) for name in ("step", "weight"))
        score = builder.fmul(steps, builder.fmul(step, product))
        store_vector(builder, score, scores, lane)
        rank = builder.fadd(builder.fadd(score, priors), builder.fmul(weight, spreads))
        store_vector(builder, rank, ranks, lane)
        return context.get_dummy_value()

    big = types.int64
    return types.void(cells, big, big, entries, query, scores, ranks), codegen


def _integer_products(builder: Any, centroids: Any, query: Any, start: Any, quads: Any) -> Any:
    """Σ centroid · query for 16 cells, in four sums so that no addition waits for another."""
    totals = accumulators(builder, INTS, 4)
    rounds = builder.lshr(quads, I64(2))
    with cgutils.for_range(builder, rounds) as loop:
        for i, total in enumerate(totals):
            index = builder.add(builder.mul(loop.index, I64(4)), I64(i))
            add_four_dims(builder, centroids, query, start, index, total)
    remaining = builder.shl(rounds, I64(2))
    with cgutils.for_range(builder, builder.sub(quads, remaining)) as loop:
        index = builder.add(remaining, loop.index)
        add_four_dims(builder, centroids, query, start, index, totals[0])
    a, b, c, d = (builder.load(total) for total in totals)
    return builder.add(builder.add(a, b), builder.add(c, d))
