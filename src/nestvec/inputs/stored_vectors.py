"""Vectors that a file stores, with the ids of its rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class StoredVectors:
    """Vectors [n, dim] in the numbers of their file, often memory-mapped, and one id per row.

    `ids` holds int64 or texts; it is None where the file has none.
    """

    vectors: np.ndarray
    ids: np.ndarray | None = None
    packed_bits: bool = False
    """True where the numbers are bytes of bits."""


def integer_ids(path: Path, ids: np.ndarray) -> np.ndarray:
    """Return ids of any integer type as int64; `DataError` for those beyond 64 bits with a sign."""
    if ids.dtype == np.uint64 and ids.size and ids.max() >= 2**63:
        raise DataError(
            f"'{path}' has ids beyond 64 bits with a sign, such as {ids.max()}; "
            "number the rows anew"
        )
    return ids.astype(np.int64)


def listed_shapes(arrays: Iterable[tuple[str, Any]]) -> str:
    """Names and shapes for a message: `'train' (60000, 784), 'test' (10000, 784)`."""
    return ", ".join(f"{name!r} {tuple(array.shape)}" for name, array in arrays)
