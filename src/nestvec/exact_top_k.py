"""Exact top k by inner product: the scores of all documents, a block of queries at a time.

`kernels.reference` holds the NumPy twin, `best_scores`, that defines the order of hits: best first,
equal scores to the smaller row.
"""

from collections.abc import Iterator

import numpy as np

from nestvec.kernels import load_scoring
from nestvec.parallel import run_in_slices
from nestvec.shapes import Float32, Int64

NONE = -1
"""Row number that stands for no row."""
_BLOCK_SCORES = 2**24
"""Scores in memory at a time: 64 MiB."""

Scores = Float32[np.ndarray, "q n"]
"""Scores of a block of queries; −∞ where a document cannot be a hit."""


def exact_top_k(
    queries: Float32[np.ndarray, "q dim"],
    documents: Float32[np.ndarray, "n dim"],
    k: int,
    self_match: Int64[np.ndarray, " q"] | None = None,
) -> tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"]]:
    """Find the rows of the `k` best documents per query, best first, and their scores.

    `self_match` is the row that each query was drawn from (−1: none), which is never a hit. Equal
    scores go to the smaller row. Where there are fewer than `k` documents the row is −1 and the
    score −∞.
    """
    rows = np.full((len(queries), k), NONE, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    depth = min(k, len(documents))
    for block, block_scores in score_blocks(queries, documents, self_match):
        top_rows, top_scores = top_k_of_scores(block_scores, depth)
        top_rows[top_scores == -np.inf] = NONE
        rows[block, :depth], scores[block, :depth] = top_rows, top_scores
    return rows, scores


def score_blocks(
    queries: Float32[np.ndarray, "q dim"],
    documents: Float32[np.ndarray, "n dim"],
    self_match: Int64[np.ndarray, " q"] | None = None,
) -> Iterator[tuple[Int64[np.ndarray, " block"], Scores]]:
    """Yield rising query rows with their scores of all documents, −∞ for self-matches.

    The scores may be overwritten; they are valid until the next block.
    """
    n = len(documents)
    block_rows = max(1, _BLOCK_SCORES // max(1, n))
    buffer = np.empty((min(block_rows, len(queries)), n), np.float32)
    for first_row in range(0, len(queries), block_rows):
        rows = np.arange(first_row, min(first_row + block_rows, len(queries)))
        scores = buffer[: len(rows)]
        np.matmul(queries[rows], documents.T, out=scores)
        if self_match is not None:
            queries_drawn = np.flatnonzero(self_match[rows] >= 0)
            scores[queries_drawn, self_match[rows][queries_drawn]] = -np.inf
        yield rows, scores


def top_k_of_scores(
    scores: Scores, k: int
) -> tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"]]:
    """Find the `k` best columns of each row of scores, best first, and their scores.

    Equal scores go to the smaller column. `k` is at most the number of columns.
    """
    rows = np.empty((len(scores), k), np.int64)
    best = np.empty((len(scores), k), np.float32)
    run_in_slices(load_scoring().best_scores, (scores, rows, best))
    return rows, best


def count_reaching(
    scores: Scores, rows: Int64[np.ndarray, " m"], bars: Float32[np.ndarray, " m"]
) -> Int64[np.ndarray, " m"]:
    """Count the scores of row `rows[i]` that are at least `bars[i]`."""
    counts = np.empty(len(rows), np.int64)

    def count_slice(*arrays: np.ndarray) -> None:
        load_scoring().count_reaching(scores, *arrays)

    run_in_slices(count_slice, (rows, bars, counts))
    return counts
