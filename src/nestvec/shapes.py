"""Array shapes in signatures, checked in tests and free elsewhere.

Tests load jaxtyping first (its import hook then checks every annotated call). Outside tests these
names stand for the bare array type: importing jaxtyping costs as much as importing nestvec may.
Axis names are the same everywhere: `q` queries, `n` rows, `k` hits, `dim` and `dims` widths.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import (
        Bool,
        Float,
        Float32,
        Float64,
        Int,
        Int8,
        Int32,
        Int64,
        UInt8,
        UInt16,
        UInt32,
        UInt64,
    )
else:

    class _Unchecked:
        """An array type that ignores shapes: `Float32[np.ndarray, "n dim"]` is `np.ndarray`."""

        def __class_getitem__(cls, item: Any) -> Any:
            return item[0]

    Bool = Float = Float32 = Float64 = Int = Int8 = Int32 = Int64 = UInt8 = UInt16 = UInt32 = (
        UInt64
    ) = _Unchecked

__all__ = [
    "Bool",
    "Float",
    "Float32",
    "Float64",
    "Int",
    "Int8",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
]
