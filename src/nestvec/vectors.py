"""Checks and prefixes of plain NumPy vectors."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import DimsError, VectorsError
from nestvec.extras import require
from nestvec.shapes import Float, Float32

MAX_ENTRY = 1e15
"""Entries up to this size are searched: sums of their products stay within float32."""

BLOCK_ROWS = 65_536
"""Rows handled at a time where a corpus is streamed: 96 MiB of float32 at 384 dims."""


def check_vectors(
    vectors: ArrayLike, name: str = "vectors", dim: int | None = None
) -> Float[np.ndarray, "n dim"]:
    """Return the vectors as a 2-D float array; floats keep their dtype and are not copied.

    Vectors are arrays, tensors on the CPU, tables and columns, as `as_array` takes them. Integers
    become floats. `VectorsError` for any rank but 2, other dtypes, zero width, and any width but
    `dim` (None: any). `check_finite` checks values, so that a memory map can be checked block by
    block.
    """
    array = as_array(vectors, name)
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


def as_array(vectors: Any, name: str = "vectors") -> np.ndarray:
    """Return numbers of any library as a NumPy array of floats of at most 64 bits.

    Takes what NumPy does (`__array__`, nested lists), tensors that require a gradient or hold
    bfloat16, columns of lists (pandas, Polars, Arrow), and objects with `__dlpack__` or
    `__arrow_c_stream__` alone. Integers become float32 if they have up to 16 bits, else float64.
    `VectorsError` for ragged or missing rows and for what is not numbers.
    """
    array = vectors if isinstance(vectors, np.ndarray) else _foreign_array(vectors, name)
    if isinstance(array, np.ma.MaskedArray):
        array = np.ma.filled(array.astype(np.result_type(array, np.float16)), np.nan)
    if array.dtype == object:
        array = _stacked(array, name)
    if array.dtype.kind in "iu":
        return array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)
    if array.dtype.kind == "V" and array.dtype.names is None and "float" in array.dtype.name:
        return array.astype(np.float32)  # bfloat16 and smaller floats of ml_dtypes
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise VectorsError(
            f"{name} have dtype {array.dtype}; nestvec takes integers, float16, float32 and "
            f"float64: use {name}.astype('float32')"
        )
    return array


def _foreign_array(vectors: Any, name: str) -> np.ndarray:
    """Convert by the first protocol that the values have; an array of objects where none fits."""
    if hasattr(vectors, "detach"):
        tensor = vectors.detach()
        # NumPy has no type for these: PyTorch converts them.
        is_small = str(tensor.dtype).startswith(("torch.bfloat16", "torch.float8"))
        vectors = tensor.float() if is_small else tensor
    elif not hasattr(vectors, "__array__"):
        if hasattr(vectors, "__dlpack__"):
            return np.from_dlpack(vectors)
        if hasattr(vectors, "__arrow_c_stream__"):
            vectors = require("pyarrow", "parquet").table(vectors)
        elif isinstance(vectors, list | tuple) and any(hasattr(row, "detach") for row in vectors):
            vectors = [None if row is None else _foreign_array(row, name) for row in vectors]
    try:
        return np.asanyarray(vectors)
    except (ValueError, TypeError, RuntimeError) as e:
        if not isinstance(vectors, list | tuple):
            raise VectorsError(
                f"{name} of type {type(vectors).__name__} cannot be read as an array "
                f"({' '.join(str(e).split())}); pass an array on the CPU"
            ) from e
    rows = np.empty(len(vectors), object)
    for position, row in enumerate(vectors):
        rows[position] = row
    return rows


def _stacked(array: np.ndarray, name: str) -> np.ndarray:
    """Stack an array of objects, such as a column of lists, to numbers; rows are equally long."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 0:
        raise VectorsError(
            f"{name} are a {type(array.item()).__name__}, which is no array; pass 2-D [rows, dim]"
        )
    rows: list[np.ndarray] = []
    for position, row in enumerate(array):
        try:
            # Python numbers in a row of objects: None and NA are refused here.
            values = np.asarray(row)
            values = values.astype(np.float64) if values.dtype == object else values
        except (TypeError, ValueError):
            values = np.empty(0, object)
        if values.dtype.kind not in "fiuV":
            raise VectorsError(
                f"{name}[{position}] is missing or holds something else than numbers; "
                "remove these rows or embed them again"
            )
        if rows and values.shape != rows[0].shape:
            raise VectorsError(
                f"{name}[{position}] has {values.size} dimensions, {name}[0] has {rows[0].size}; "
                "make all rows equally long"
            )
        rows.append(values)
    return np.stack(rows) if rows else np.empty((0, 0))


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
    """Raise `VectorsError` for entries beyond `MAX_ENTRY`: products could overflow float32."""
    # As floats: float16 cannot be compared with so large a number.
    if block.size and max(float(block.max()), -float(block.min())) > MAX_ENTRY:
        row = first_row + int((np.abs(block) > MAX_ENTRY).any(axis=1).argmax())
        raise VectorsError(
            f"{name}[{row}] has an entry beyond ±{MAX_ENTRY:g}; scale the vectors down first"
        )


def as_queries(queries: ArrayLike, dim: int) -> Float32[np.ndarray, "q dim"]:
    """Check queries by `as_float32` and `check_magnitude`; return them in the layout of kernels.

    One vector [dim] is one query.
    """
    # Most queries need no conversion; to test for that alone takes a tenth as long.
    if (
        type(queries) is np.ndarray
        and _is_float32_contiguous(queries, dim)
        and _is_within_magnitude(queries)
    ):
        return queries
    array = as_array(queries, "queries")
    rows = array[None] if array.ndim == 1 and array.size else array
    # Kernels are compiled for writable arrays alone: a read-only one would compile them anew.
    array = np.require(as_float32(rows, "queries", dim), requirements=["C", "W", "E"])
    check_magnitude(array, "queries")
    return array


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
