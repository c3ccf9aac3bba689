"""Vectors as wide as those of OpenAI's models, made from what real sentence vectors are like.

No large set of such vectors is at hand. These are synthetic, and figures on them say so: rows lie
around the cells that k-means finds in real vectors, as many per cell as there; within a cell they
are Gaussian with a power-law spectrum, its exponent fitted within the real cells and continued to
the wider dimension, each row as far from its centroid as a real row is. What they lack is the fine
structure inside cells (near duplicates, sub-topics), so that true neighbours stand out less.
"""

import numpy as np

_CELLS = 1_000
_FITTED = slice(4, 300)
"""Ranks on which the exponent is fitted: the first are topics, the last fall off with the model."""


def like(real: np.ndarray, dim: int, rows: int, seed: int = 0) -> np.ndarray:
    """`rows` unit vectors of `dim` >= the real dims, float32."""
    rng = np.random.default_rng(seed)
    real = np.asarray(real, np.float32)
    centroids, cells = k_means(real, min(_CELLS, len(real) // 20), rng)
    residuals = real - centroids[cells]
    lengths = np.linalg.norm(residuals, axis=1)
    exponent = power_law(residuals)
    # Axes in the order of the real energy, so that centroids and spectrum fall off together.
    _, axes = np.linalg.eigh(real.T @ real)
    wide = np.zeros((len(centroids), dim), np.float32)
    wide[:, : real.shape[1]] = centroids @ axes[:, ::-1]
    spread = (np.arange(1, dim + 1) ** (-exponent / 2)).astype(np.float32)
    picked = rng.integers(len(real), size=rows)
    made = rng.standard_normal((rows, dim), np.float32) * spread
    made *= (lengths[picked] / np.linalg.norm(made, axis=1))[:, None]
    made += wide[cells[picked]]
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def power_law(residuals: np.ndarray) -> float:
    """a of λ_j ∝ j^−a, by least squares on the logarithms of the eigenvalues."""
    values = np.linalg.eigvalsh(residuals.T @ residuals / len(residuals))[::-1]
    ranks = np.arange(1, len(values) + 1)[_FITTED]
    return float(-np.polyfit(np.log(ranks), np.log(values[_FITTED]), 1)[0])


def k_means(
    vectors: np.ndarray, count: int, rng: np.random.Generator, rounds: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Centroids and the cell of every row, by Lloyd's rounds from random rows."""
    centroids = vectors[rng.permutation(len(vectors))[:count]]
    for _ in range(rounds):
        cells = np.argmax(vectors @ centroids.T - (centroids**2).sum(axis=1) / 2, axis=1)
        sums = np.zeros_like(centroids)
        np.add.at(sums, cells, vectors)
        counts = np.bincount(cells, minlength=count)
        centroids = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centroids)
    return centroids, np.argmax(vectors @ centroids.T - (centroids**2).sum(axis=1) / 2, axis=1)
