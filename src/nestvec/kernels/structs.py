"""Named tuples of arrays as numba structures, which a kernel receives as a single pointer.

numba unpacks every array of a named tuple anew on each call from Python: 5 µs for the 30 arrays of
a search that takes 100. A structure is unpacked once, when it is built.
"""

from typing import Any

from numba.core import types
from numba.experimental import structref
from numba.extending import overload

from nestvec.kernels.jit import kernel

_NAMED_TUPLE: Any = types.BaseNamedTuple  # type: ignore[attr-defined]  # numba ships no types


@structref.register
class Struct(types.StructRef):  # type: ignore[misc, name-defined]  # numba ships no types
    """The numba type of a structure; its fields are those of the named tuple."""


class StructProxy(structref.StructRefProxy):  # type: ignore[misc]
    """A structure as Python holds it: to be passed to kernels, and to nothing else."""


structref.define_boxing(Struct, StructProxy)


def as_struct(record: Any) -> Any:
    """Turn a named tuple, and those inside it, into structures; in kernels only."""
    raise NotImplementedError("as_struct has a meaning in compiled code only; call pack instead")


@overload(as_struct)
def _as_struct(record):
    if not isinstance(record, _NAMED_TUPLE):
        return lambda record: record
    fields = [(name, _struct_type(kind)) for name, kind in zip(record.fields, record, strict=True)]
    names: dict[str, Any] = {
        "new": structref.new, "as_struct": as_struct, "struct_type": Struct(fields),
    }  # fmt: skip
    assignments = "".join(f"    struct.{name} = as_struct(record.{name})\n" for name, _ in fields)
    # numba has no loop over the fields of a structure: one assignment is written for each.
    source = f"def build(record):\n    struct = new(struct_type)\n{assignments}    return struct\n"
    exec(source, names)
    return names["build"]


def _struct_type(kind):
    """Return the type of the structure for a named tuple of this type."""
    if not isinstance(kind, _NAMED_TUPLE):
        return kind
    fields = zip(kind.fields, kind, strict=True)
    return Struct([(name, _struct_type(inner)) for name, inner in fields])


@kernel
def pack(record):
    """Turn a named tuple of arrays and numbers into a structure for kernels.

    The structure keeps the arrays alive. Functions that read a named tuple by the names of its
    fields read a structure in the same way.
    """
    return as_struct(record)
