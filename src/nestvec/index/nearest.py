"""The best of some rows, exactly, without codes: a float32 product finds who can be among them.

For any order of summation |fl32(q·x) − q·x| ≤ γ·‖q‖·‖x‖ with γ = dim·u / (1 − dim·u), u = 2⁻²⁴
(Higham, Accuracy and Stability, §3.1). A row whose score plus this is below the k-th largest score
less this is not among the best k; the others, k and a few, are decided in float64.
"""

import numpy as np

from nestvec.shapes import Float32, Float64, Int64

_BLOCK_BYTES = 1 << 25
"""Of vectors, and of their scores: read at a time, so that any number of rows fits in memory."""

_SMALLEST = 2.0**-120
"""More than what is lost where products fall below the smallest float32."""


def nearest(
    vectors: Float32[np.ndarray, "n dim"],
    rows: Int64[np.ndarray, " m"],
    queries: Float32[np.ndarray, "q dim"],
    k: int,
) -> tuple[Int64[np.ndarray, "q k"], Float64[np.ndarray, "q k"]]:
    """The `k <= m` rows (rising) with the largest float64 inner products, equal ones by row.

    An answer depends neither on the batch it is in nor on how the work is cut.
    """
    found = [(rows[:0], np.empty(0)) for _ in queries]
    step = max(k, 1, _BLOCK_BYTES // (4 * max(1, vectors.shape[1], len(queries))))
    for first in range(0, len(rows), step):
        part = rows[first : first + step]
        # Copied: rows lie apart, and BLAS wants them side by side.
        block = np.ascontiguousarray(vectors[part])
        for q, candidates in enumerate(_candidates(block, queries, k)):
            scores = (block[candidates].astype(np.float64) * queries[q]).sum(axis=1)
            found[q] = _best(found[q], (part[candidates], scores), k)
    shape = len(queries), k
    best_rows = np.array([row for row, _ in found], np.int64).reshape(shape)
    return best_rows, np.array([score for _, score in found], np.float64).reshape(shape)


def _candidates(
    block: Float32[np.ndarray, "n dim"], queries: Float32[np.ndarray, "q dim"], k: int
) -> list[Int64[np.ndarray, " c"]]:
    """Per query, all rows of the block that may be among its best `k`, rising."""
    if len(block) <= k:
        return [np.arange(len(block))] * len(queries)
    scores = queries @ block.T
    slack = _gamma(block.shape[1]) * _norms(queries)[:, None] * _norms(block) + _SMALLEST
    low = np.partition(scores - slack, -k, axis=1)[:, -k]
    return [np.flatnonzero(able) for able in scores + slack >= low[:, None]]


def _gamma(dim: int) -> float:
    return dim * 2.0**-24 / (1 - dim * 2.0**-24)


def _norms(vectors: Float32[np.ndarray, "n dim"]) -> Float64[np.ndarray, " n"]:
    """At least the lengths: float32 sums of squares, and what they may be short of."""
    squares = np.einsum("nd,nd->n", vectors, vectors).astype(np.float64)
    norms: Float64[np.ndarray, " n"] = np.sqrt(
        squares * (1 + 2 * _gamma(vectors.shape[1])) + _SMALLEST
    )
    return norms


def _best(
    one: tuple[Int64[np.ndarray, " a"], Float64[np.ndarray, " a"]],
    other: tuple[Int64[np.ndarray, " b"], Float64[np.ndarray, " b"]],
    k: int,
) -> tuple[Int64[np.ndarray, " c"], Float64[np.ndarray, " c"]]:
    """The best `k` of both; `one` has the smaller rows, which go first among equals."""
    rows, scores = (np.concatenate(pair) for pair in zip(one, other, strict=True))
    order = np.argsort(-scores, kind="stable")[:k]
    return rows[order], scores[order]
