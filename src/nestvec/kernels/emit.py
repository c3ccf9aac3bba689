"""What the inner steps are written with: LLVM's types, and a word for what is said often.

LLVM's vector language is portable: one text serves every processor. Only where an instruction is
the point of a step has it another name on each.
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
"""Whether one instruction multiplies bytes, unsigned with signed, and adds up four products."""

VNNI = "llvm.x86.avx512.vpdpbusd.512"
"""That instruction."""


def splat(kind: ir.VectorType, value: int | float) -> ir.Constant:
    """One constant in all lanes."""
    return ir.Constant(kind, [value] * kind.count)


def data_of(context: Any, builder: Any, signature: Any, arguments: Any, which: int) -> Any:
    """The address of an array argument's first number."""
    return context.make_array(signature.args[which])(context, builder, arguments[which]).data


def load(builder: Any, kind: Any, data: Any, place: Any) -> Any:
    """A vector of this kind, from flat `place` on."""
    loaded = builder.load(builder.bitcast(builder.gep(data, [place]), kind.as_pointer()))
    loaded.align = 1
    return loaded


def part_of(builder: Any, vector: Any, first: int, count: int) -> Any:
    """Some lanes next to each other."""
    places = ir.Constant(ir.VectorType(I32, count), list(range(first, first + count)))
    return builder.shuffle_vector(vector, vector, places)


def join(builder: Any, parts: list[Any]) -> Any:
    """Vectors of one size behind each other, as many as a power of two."""
    while len(parts) > 1:
        count = 2 * parts[0].type.count
        places = ir.Constant(ir.VectorType(I32, count), list(range(count)))
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [builder.shuffle_vector(a, b, places) for a, b in pairs]
    return parts[0]


def function(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """One of LLVM's own functions."""
    return cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, list(arguments)), name
    )


def store(builder: Any, lanes: Any, data: Any, place: Any) -> None:
    """Write the lanes from flat `place` on."""
    to = builder.bitcast(builder.gep(data, [place]), lanes.type.as_pointer())
    builder.store(lanes, to).align = 1


def registers(builder: Any, kind: Any, count: int) -> list[Any]:
    """Sums that are 0 whenever control comes here, even in a loop that the call is inlined into."""
    sums = [cgutils.alloca_once(builder, kind) for _ in range(count)]
    for total in sums:
        builder.store(ir.Constant(kind, [0] * kind.count), total)
    return sums


def spread(builder: Any, number: Any, count: int = 16) -> Any:
    """One number in all lanes."""
    kind = ir.VectorType(number.type, count)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, I32(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(I32, count), [0] * count))
