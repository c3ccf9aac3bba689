"""Vectors of several files stacked into one array on disk."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from nestvec.errors import DataError

_BLOCK_ROWS = 65_536
"""Rows copied at a time: parts may be memory maps larger than memory."""


def stack_on_disk(parts: Iterable[tuple[Path, np.ndarray]]) -> np.ndarray:
    """Stack the vectors [n, dim] of files into a memory map of a temporary file without a name.

    The file goes with the last use of the array. `DataError` for parts that differ in width or in
    dtype from the first.
    """
    rows, first = 0, None
    with tempfile.TemporaryFile(prefix="nestvec-") as file:
        for path, part in parts:
            kind = (part.shape[1], part.dtype)
            first = first or kind
            if kind != first:
                raise DataError(
                    f"{path} has vectors of {kind[0]} dimensions of {kind[1]}, and the files "
                    f"before it {first[0]} of {first[1]}; give all files the same"
                )
            for start in range(0, len(part), _BLOCK_ROWS):
                file.write(np.ascontiguousarray(part[start : start + _BLOCK_ROWS]).data)
            rows += len(part)
        assert first is not None, "there is at least one part"
        width, dtype = first
        if not rows:
            return np.empty((0, width), dtype)
        file.flush()
        return np.memmap(file, dtype, mode="r", shape=(rows, width))
