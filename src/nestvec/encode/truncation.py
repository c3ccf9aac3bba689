"""Prefixes of vectors that may be larger than memory."""

from pathlib import Path

import numpy as np

from nestvec.shapes import Float
from nestvec.vectors import BLOCK_ROWS, check_dims, truncate


def truncate_to_file(vectors: Float[np.ndarray, "n dim"], path: Path, dims: int) -> None:
    """Write the first `dims` dimensions of each row, renormalised, to a new `.npy` file.

    Rows are read block by block and keep their float type. The file appears whole or not at all.
    """
    width = check_dims(dims, vectors.shape[1])
    fresh = path.with_name(f"{path.name}.partial")
    shape = (len(vectors), width)
    try:
        out = np.lib.format.open_memmap(fresh, mode="w+", dtype=vectors.dtype, shape=shape)
        for start in range(0, len(vectors), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            out[block] = truncate(vectors[block], width)
        out.flush()
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
