"""Rows of numbers as benchmarks of nearest-neighbour search publish them.

- `.fvecs`, `.bvecs`, `.ivecs` (TEXMEX): each row is its dimension as an int32, and its numbers.
- `.fbin`, `.u8bin`, `.i8bin` (big-ann-benchmarks): the numbers of rows and dimensions as two
  uint32, and then all rows.

All numbers are little-endian. Nothing in these files tells the format, so the name does.
"""

from pathlib import Path

import numpy as np

from nestvec.errors import DataError
from nestvec.inputs.stored_vectors import StoredVectors

_ROW_BY_ROW = {".fvecs": "<f4", ".bvecs": "u1", ".ivecs": "<i4"}
_WITH_HEADER = {".fbin": "<f4", ".u8bin": "u1", ".i8bin": "i1"}
_HEADER_BYTES = 8
_BLOCK_ROWS = 1 << 20
"""Rows whose dimension is checked at a time."""


def read_ann_vectors(path: Path, suffix: str) -> StoredVectors:
    """Map the rows of a file into memory; `suffix` is that of the format, such as `.fvecs`.

    `DataError` for a file that is cut short, too long or empty, and for a row of another dimension
    than the first.
    """
    if suffix in _WITH_HEADER:
        return StoredVectors(_with_header(path, np.dtype(_WITH_HEADER[suffix]), suffix))
    return StoredVectors(_row_by_row(path, np.dtype(_ROW_BY_ROW[suffix]), suffix))


def _row_by_row(path: Path, number: np.dtype, suffix: str) -> np.ndarray:
    size_bytes = path.stat().st_size
    dim = int.from_bytes(_first_bytes(path, 4, suffix), "little", signed=True)
    _check_dim(path, dim, suffix)
    row = np.dtype([("dim", "<i4"), ("numbers", number, (dim,))])
    n, rest_bytes = divmod(size_bytes, row.itemsize)
    if n == 0:
        raise DataError(_cut_short(path, suffix, 0, dim))
    # An array of structures: its field is a view with a stride, and nothing is read yet.
    rows = np.memmap(path, row, mode="r", shape=(n,))
    for start in range(0, n, _BLOCK_ROWS):
        dims = rows["dim"][start : start + _BLOCK_ROWS]
        if (dims != dim).any():
            bad = int((dims != dim).argmax())
            raise DataError(
                f"row {start + bad} of '{path}' has {int(dims[bad])} dimensions, row 0 has {dim}; "
                f"a {suffix} file has rows of one dimension, so write the file again"
            )
    if rest_bytes:
        raise DataError(_cut_short(path, suffix, n, dim))
    numbers: np.ndarray = rows["numbers"]
    return numbers


def _with_header(path: Path, number: np.dtype, suffix: str) -> np.ndarray:
    header = _first_bytes(path, _HEADER_BYTES, suffix)
    n, dim = (int(value) for value in np.frombuffer(header, "<u4"))
    _check_dim(path, dim, suffix)
    size_bytes = path.stat().st_size
    needed_bytes = _HEADER_BYTES + n * dim * number.itemsize
    if size_bytes != needed_bytes:
        raise DataError(
            f"'{path}' announces {n:,} rows of {dim:,} dimensions, which is {needed_bytes:,} bytes "
            f"as {suffix}, but has {size_bytes:,}; copy or download it again"
        )
    if n == 0:
        raise DataError(f"'{path}' has no rows; write the file again")
    return np.memmap(path, number, mode="r", offset=_HEADER_BYTES, shape=(n, dim))


def _first_bytes(path: Path, size_bytes: int, suffix: str) -> bytes:
    with path.open("rb") as file:
        head = file.read(size_bytes)
    if len(head) < size_bytes:
        raise DataError(
            f"'{path}' has {len(head)} bytes, too few for a {suffix} file; "
            "copy or download it again"
        )
    return head


def _check_dim(path: Path, dim: int, suffix: str) -> None:
    if dim < 1:
        raise DataError(
            f"'{path}' begins with the dimension {dim}, so it is no {suffix} file; check its name"
        )


def _cut_short(path: Path, suffix: str, row: int, dim: int) -> str:
    return (
        f"'{path}' ends within row {row}, of {dim:,} dimensions by its first bytes; it is cut "
        f"short or no {suffix} file, so copy or download it again"
    )
