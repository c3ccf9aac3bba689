"""Ranks of the positives of queries, at any prefix, from vectors that were encoded once."""

import numpy as np

from nestvec.shapes import Float, Int64
from nestvec.vectors import truncate

_BLOCK = 1024
"""Queries whose scores with all documents are in memory at a time."""


def positive_ranks(
    queries: Float[np.ndarray, "q dim"],
    documents: Float[np.ndarray, "n dim"],
    positives: Int64[np.ndarray, " q"],
) -> Int64[np.ndarray, " q"]:
    """Count the documents that come before each query's positive by inner product; 0 is best.

    Equal scores go to the smaller row.
    """
    ranks = np.empty(len(queries), dtype=np.int64)
    for start in range(0, len(queries), _BLOCK):
        block = slice(start, start + _BLOCK)
        scores, columns = queries[block] @ documents.T, positives[block, None]
        positive_scores = np.take_along_axis(scores, columns, axis=1)
        ties_before = (scores == positive_scores) & (np.arange(len(documents)) < columns)
        ranks[block] = ((scores > positive_scores) | ties_before).sum(axis=1)
    return ranks


def truncate_sides(
    queries: Float[np.ndarray, "q dim"],
    documents: Float[np.ndarray, "n dim"],
    query_dims: int,
    document_dims: int,
) -> tuple[Float[np.ndarray, "q dims"], Float[np.ndarray, "n dims"]]:
    """Truncate and renormalise each side at its dims, then take the smaller dims of both.

    This compares a prefix with vectors that were stored at more dims, as they were stored.
    """
    shared = min(query_dims, document_dims)
    return (
        truncate(queries, query_dims)[:, :shared],
        truncate(documents, document_dims)[:, :shared],
    )


def ndcg_at_10(ranks: Int64[np.ndarray, " q"]) -> float:
    """Average nDCG@10 over queries with one relevant document each, of these ranks."""
    gains = np.where(ranks < 10, 1 / np.log2(ranks + 2), 0.0)
    return float(gains.mean())


def recall_at_1(ranks: Int64[np.ndarray, " q"]) -> float:
    """Compute the share of queries whose positive comes first."""
    return float((ranks == 0).mean())
