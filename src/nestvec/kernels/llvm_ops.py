"""LLVM vector types and short forms of the operations that the intrinsics are written with.

LLVM's vector language is portable: one text serves every processor. A step names an instruction of
one processor only where that instruction is the point of the step.
"""

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
BYTES = ir.VectorType(I8, 64)
HALVES = ir.VectorType(I16, 32)
INTS = ir.VectorType(I32, 16)
FLOATS = ir.VectorType(ir.FloatType(), 16)
MASK = ir.VectorType(I1, 16)

HAS_VNNI = bool(llvm.get_host_cpu_features().get("avx512vnni"))
"""Presence of an instruction that multiplies unsigned by signed bytes and adds four products."""

VNNI = "llvm.x86.avx512.vpdpbusd.512"
"""LLVM's name of that instruction."""


def constant(kind: ir.VectorType, value: int | float) -> ir.Constant:
    """Make a vector with one constant in all lanes."""
    return ir.Constant(kind, [value] * kind.count)


def array_data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Return the address of the first number of an array of this numba type."""
    return context.make_array(kind)(context, builder, array).data


def argument_data(
    context: Any, builder: Any, signature: Any, arguments: Any, *positions: int
) -> list[Any]:
    """Return the addresses of the first numbers of some array arguments."""
    return [array_data(context, builder, signature.args[i], arguments[i]) for i in positions]


def tuple_fields(context: Any, builder: Any, kind: Any, value: Any) -> dict[str, Any]:
    """Return the fields of a named tuple: the addresses of arrays, and numbers as they are."""
    fields = zip(kind.fields, kind, cgutils.unpack_tuple(builder, value), strict=True)
    return {
        name: array_data(context, builder, field, item) if hasattr(field, "ndim") else item
        for name, field, item in fields
    }


def load_vector(builder: Any, kind: Any, data: Any, offset: Any) -> Any:
    """Load a vector of this kind from flat index `offset` on."""
    loaded = builder.load(builder.bitcast(builder.gep(data, [offset]), kind.as_pointer()))
    loaded.align = 1
    return loaded


def store_vector(builder: Any, lanes: Any, data: Any, offset: Any) -> None:
    """Store the lanes from flat index `offset` on."""
    pointer = builder.bitcast(builder.gep(data, [offset]), lanes.type.as_pointer())
    builder.store(lanes, pointer).align = 1


def vector_slice(builder: Any, vector: Any, start: int, count: int) -> Any:
    """Take `count` neighbouring lanes from lane `start` on."""
    indices = ir.Constant(ir.VectorType(I32, count), list(range(start, start + count)))
    return builder.shuffle_vector(vector, vector, indices)


def concat(builder: Any, parts: list[Any]) -> Any:
    """Concatenate vectors of one size; their number is a power of two."""
    while len(parts) > 1:
        count = 2 * parts[0].type.count
        indices = ir.Constant(ir.VectorType(I32, count), list(range(count)))
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [builder.shuffle_vector(a, b, indices) for a, b in pairs]
    return parts[0]


def llvm_function(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Declare an intrinsic function of LLVM."""
    return cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, list(arguments)), name
    )


def accumulators(builder: Any, kind: Any, count: int) -> list[Any]:
    """Make sums that are set to 0 here, also in each round of a loop around an inlined call."""
    sums = [cgutils.alloca_once(builder, kind) for _ in range(count)]
    for total in sums:
        builder.store(ir.Constant(kind, [0] * kind.count), total)
    return sums


def broadcast(builder: Any, number: Any, count: int = 16) -> Any:
    """Put one number into all lanes."""
    kind = ir.VectorType(number.type, count)
    single = builder.insert_element(ir.Constant(kind, ir.Undefined), number, I32(0))
    zeros = ir.Constant(ir.VectorType(I32, count), [0] * count)
    return builder.shuffle_vector(single, single, zeros)
