"""Checks and prefixes of plain NumPy vectors."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import DimsError, VectorsError
from nestvec.shapes import Float, Float32

MAX_ENTRY = 1e15
"""Entries up to this size are searched: sums of their products stay within float32."""

BLOCK_ROWS = 65_536
"""Rows handled at a time where a corpus is streamed: 96 MiB of float32 at 384 dims."""


def check_vectors(
    vectors: ArrayLike, name: str = "vectors", dim: int | None = None
) -> Float[np.ndarray, "n dim"]:
    """Return the vectors as a 2-D float array, unchanged in dtype and not copied.

    `VectorsError` for any rank but 2, any dtype but float16, float32 and float64, zero width, and
    any width but `dim` (None: any). `check_finite` checks values, so that a memory map can be
    checked block by block.
    """
    array = np.asanyarray(vectors)
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise VectorsError(
            f"{name} have dtype {array.dtype}; nestvec takes float16, float32 and float64: "
            f"use {name}.astype('float32')"
        )
    if array.ndim != 2:
        raise VectorsError(
            f"{name} have shape {array.shape}; pass 2-D [rows, dim]: "
            f"for one vector use {name}[None, :]"
        )
    if array.shape[1] == 0:
        raise VectorsError(f"{name} have shape {array.shape}; pass at least 1 dimension")
    if dim is not None and array.shape[1] != dim:
        raise VectorsError(
            f"{name} have {array.shape[1]} dimensions but {dim} are needed; "
            "embed them with the model of the other vectors"
        )
    return array


def check_finite(block: Float[np.ndarray, "n dim"], name: str, first_row: int = 0) -> None:
    """Raise `VectorsError` for NaN or infinity in a block; it names the first such row."""
    # A finite sum means finite entries: one pass in the usual case. Otherwise finite entries may
    # have overflowed (NumPy would warn of that), so the entries themselves decide.
    with np.errstate(over="ignore", invalid="ignore"):
        total = block.sum(dtype=np.float64)
    if np.isfinite(total):
        return
    bad_rows = np.flatnonzero(~np.isfinite(block).all(axis=1))
    if bad_rows.size:
        raise VectorsError(
            f"{name}[{first_row + int(bad_rows[0])}] holds NaN or infinity "
            f"({bad_rows.size} such rows here); "
            "remove these rows or embed them again"
        )


def check_magnitude(block: Float[np.ndarray, "n dim"], name: str, first_row: int = 0) -> None:
    """Raise `VectorsError` for entries beyond `LARGEST`, whose products would overflow float32."""
    # As floats: float16 cannot be compared with so large a number.
    if block.size and max(float(block.max()), -float(block.min())) > MAX_ENTRY:
        row = first_row + int((np.abs(block) > MAX_ENTRY).any(axis=1).argmax())
        raise VectorsError(
            f"{name}[{row}] has an entry beyond ±{MAX_ENTRY:g}; scale the vectors down first"
        )


def as_queries(queries: ArrayLike, dim: int) -> Float32[np.ndarray, "q dim"]:
    """Check queries by `as_float32` and `check_magnitude`; return them in the layout of kernels."""
    # Most queries need no conversion; to test for that alone takes a tenth as long.
    if (
        type(queries) is np.ndarray
        and _is_float32_contiguous(queries, dim)
        and _is_within_magnitude(queries)
    ):
        return queries
    # Kernels are compiled for writable arrays alone: a read-only one would compile them anew.
    array = np.require(as_float32(queries, "queries", dim), requirements=["C", "W", "E"])
    check_magnitude(array, "queries")
    return array


def _is_ready(array: np.ndarray, dim: int) -> bool:
    return _is_float32_contiguous(array, dim) and _is_within_magnitude(array)


def _is_float32_contiguous(array: np.ndarray, dim: int) -> bool:
    fits = array.ndim == 2 and array.flags.carray and array.dtype == np.float32
    return fits and array.shape[1] == dim and len(array) > 0


def _is_within_magnitude(array: Float32[np.ndarray, "n dim"]) -> bool:
    # NaN is both the least and the greatest for argmin and argmax, and within no bounds.
    lowest, highest = array.item(array.argmin()), array.item(array.argmax())
    return bool(lowest >= -MAX_ENTRY and highest <= MAX_ENTRY)


def as_float32(
    vectors: ArrayLike, name: str = "vectors", dim: int | None = None
) -> Float32[np.ndarray, "n dim"]:
    """Return checked, finite, C-contiguous float32 vectors; copied only where they are not that."""
    array = check_vectors(vectors, name, dim)
    check_finite(array, name)
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(array, dtype=np.float32)
    if array.dtype.itemsize > 4:
        check_finite(converted, f"{name} as float32")
    return converted


def normalize(vectors: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
    """Scale rows to unit Euclidean length, in the same dtype; zero rows stay zero.

    Lengths are computed in float64 after scaling by the largest entry, so neither huge nor denormal
    rows overflow or vanish.
    """
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0).astype(np.float64)
    scaled = vectors / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit: Any = scaled / np.where(length > 0, length, 1)
    return np.asarray(unit, dtype=vectors.dtype)


def check_dims(dims: int, width: int) -> int:
    """Return `dims` if it is a whole number in 1..width, else raise `DimsError`."""
    if isinstance(dims, bool) or not isinstance(dims, int | np.integer):
        raise DimsError(f"dims={dims!r} is not a whole number; use 1 <= dims <= {width}")
    if dims < 1:
        raise DimsError(f"dims={dims} is below 1; use 1 <= dims <= {width}")
    if dims > width:
        raise DimsError(
            f"dims={dims} is wider than the vectors ({width}); "
            f"use dims <= {width}, or embed with a wider model"
        )
    return int(dims)


def truncate(vectors: ArrayLike, dims: int) -> Float[np.ndarray, "n dims"]:
    """Truncate each row to its first `dims` dimensions, renormalised, in the same dtype.

    A prefix of a unit vector is not a unit vector, hence the renormalisation (Kusupati et al.,
    2022, §3). A row whose prefix is all zeros stays zero. Raises `VectorsError` for anything but
    finite 2-D floats and `DimsError` for `dims` outside 1..width.

    >>> truncate(np.array([[3.0, 4.0, 12.0]]), 2)
    array([[0.6, 0.8]])
    """
    array = check_vectors(vectors)
    width = check_dims(dims, array.shape[1])
    check_finite(array, "vectors")
    return normalize(array[:, :width])
