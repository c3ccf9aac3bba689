"""k-means cells over a prefix of the rotated dimensions.

The prefix that holds three quarters of the energy makes cells as good as the full width does, at a
third of the work (docs/decisions/0005): the vectors are nested, so the partition may be too.
"""

import numpy as np

from nestvec.kernels.reference import GROUP
from nestvec.shapes import Float32, Float64, Int64

_ITERATIONS = 5
"""More do not help: 3 to 8 put the same share of true neighbours into the best cells."""

_SAMPLE_PER_CELL = 32
_ENERGY_SHARE = 0.75
_ASSIGN_BYTES = 1 << 26


def cell_count(rows: int) -> int:
    """How many cells a segment of `rows` gets: 9·√rows, but at least 32 rows a cell on average."""
    return int(max(1, min(9 * np.sqrt(rows), rows / 32)))


def cell_dims(energy: Float64[np.ndarray, " dim"]) -> int:
    """The prefix that cells are made on: whole groups holding three quarters of the energy."""
    held = np.cumsum(energy)
    enough = int(np.searchsorted(held, _ENERGY_SHARE * held[-1])) + 1
    return min(len(energy), -(-enough // GROUP) * GROUP)


def sample_size(cells: int) -> int:
    """Rows that `train_cells` wants to see."""
    return _SAMPLE_PER_CELL * cells


# "np.random.Generator" is quoted: naming it imports numpy.random, 10 ms of `import nestvec`.
def train_cells(
    sample: Float32[np.ndarray, "n dims"], cells: int, rng: "np.random.Generator"
) -> Float32[np.ndarray, "cells dims"]:
    """Lloyd's k-means from a random start; a cell left without rows restarts at a random row."""
    if len(sample) == 0:
        return np.zeros((cells, sample.shape[1]), np.float32)
    centroids = sample[np.sort(rng.choice(len(sample), cells, replace=False))].copy()
    for _ in range(_ITERATIONS):
        owners = assign(sample, centroids)
        sums, counts = sum_by_cell(sample, owners, cells)
        empty = np.flatnonzero(counts == 0)
        centroids = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        centroids[empty] = sample[rng.choice(len(sample), len(empty), replace=False)]
    return centroids


def assign(
    vectors: Float32[np.ndarray, "n dims"], centroids: Float32[np.ndarray, "cells dims"]
) -> Int64[np.ndarray, " n"]:
    """The nearest centroid of each row (Euclidean); equal distances go to the smaller cell."""
    half_squares = np.einsum("cd,cd->c", centroids, centroids) / 2
    owners = np.empty(len(vectors), np.int64)
    step = max(1, _ASSIGN_BYTES // (4 * len(centroids)))
    for first in range(0, len(vectors), step):
        part = slice(first, first + step)
        # argmin |x − c|² = argmax ⟨x, c⟩ − |c|²/2
        owners[part] = (vectors[part] @ centroids.T - half_squares).argmax(axis=1)
    return owners


def sum_by_cell(
    vectors: Float32[np.ndarray, "n dims"], owners: Int64[np.ndarray, " n"], cells: int
) -> tuple[Float64[np.ndarray, "cells dims"], Int64[np.ndarray, " cells"]]:
    """Per cell the sum of its rows, in float64, and their number."""
    order = np.argsort(owners, kind="stable")
    counts = np.bincount(owners, minlength=cells)
    sums = np.zeros((cells, vectors.shape[1]))
    held = np.flatnonzero(counts)
    starts = (np.cumsum(counts) - counts)[held]
    if len(held):
        sums[held] = np.add.reduceat(vectors[order], starts, axis=0, dtype=np.float64)
    return sums, counts
