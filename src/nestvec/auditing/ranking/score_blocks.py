"""The scores of all documents, a block of queries at a time, and what is read out of a block."""

from collections.abc import Iterator

import numpy as np

from nestvec.auditing.types import Encoded
from nestvec.index.run import share_out
from nestvec.kernels import load_scoring
from nestvec.shapes import Float32, Int64

_SCORES = 2**24
"""Held at a time: 64 MiB."""

Scores = Float32[np.ndarray, "q n"]
"""A row per query of the block, −∞ where a document is no answer."""


def score_blocks(
    encoded: Encoded, own: Int64[np.ndarray, " q"]
) -> Iterator[tuple[Int64[np.ndarray, " block"], Scores]]:
    """Rising query rows and their scores, whose buffer is the caller's until the next block.

    The document `own[i]` (−1: none) is no answer to query i.
    """
    queries, n = len(encoded.queries), len(encoded.documents)
    size = max(1, _SCORES // n)
    buffer = np.empty((min(size, queries), n), np.float32)
    for first in range(0, queries, size):
        rows = np.arange(first, min(first + size, queries))
        scores = buffer[: len(rows)]
        np.matmul(encoded.queries[rows], encoded.documents.T, out=scores)
        has_own = np.flatnonzero(own[rows] >= 0)
        scores[has_own, own[rows][has_own]] = -np.inf
        yield rows, scores


def best_of(scores: Scores, k: int) -> tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"]]:
    """The `k` best documents of each query and their scores; equal scores go to the smaller row."""
    rows = np.empty((len(scores), k), np.int64)
    best = np.empty((len(scores), k), np.float32)
    share_out(load_scoring().best_scores, (scores, rows, best), None)
    return rows, best


def count_reaching(
    scores: Scores, rows: Int64[np.ndarray, " m"], bars: Float32[np.ndarray, " m"]
) -> Int64[np.ndarray, " m"]:
    """How many scores of row `rows[i]` are at least `bars[i]`."""
    counts = np.empty(len(rows), np.int64)

    def run(*of_rows: np.ndarray) -> None:
        load_scoring().count_reaching(scores, *of_rows)

    share_out(run, (rows, bars, counts), None)
    return counts
