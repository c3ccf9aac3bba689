"""Where a query finds its own document, at every size, from rows encoded once."""

import numpy as np

from nestvec.shapes import Float, Int64
from nestvec.vectors import truncate

_BLOCK = 1024


def positive_ranks(
    queries: Float[np.ndarray, "q dim"],
    documents: Float[np.ndarray, "n dim"],
    own: Int64[np.ndarray, " q"],
) -> Int64[np.ndarray, " q"]:
    """How many documents come before the query's own by inner product; 0 is first.

    Equal scores go to the smaller row.
    """
    ranks = np.empty(len(queries), dtype=np.int64)
    for first in range(0, len(queries), _BLOCK):
        part = slice(first, first + _BLOCK)
        scores, mine = queries[part] @ documents.T, own[part, None]
        right = np.take_along_axis(scores, mine, axis=1)
        before = (scores == right) & (np.arange(len(documents)) < mine)
        ranks[part] = ((scores > right) | before).sum(axis=1)
    return ranks


def rank_at_dims(
    queries: Float[np.ndarray, "q dim"],
    documents: Float[np.ndarray, "n dim"],
    query_dims: int,
    document_dims: int,
) -> tuple[Float[np.ndarray, "q dims"], Float[np.ndarray, "n dims"]]:
    """Both sides cut to their own size and renormalised there, then to the smaller one.

    So a prefix is compared with vectors that were stored longer, as they were stored.
    """
    shared = min(query_dims, document_dims)
    sides = ((queries, query_dims), (documents, document_dims))
    left, right = (truncate(rows, dims)[:, :shared] for rows, dims in sides)
    return left, right


def ndcg_at_10(ranks: Int64[np.ndarray, " q"]) -> float:
    """The mean nDCG@10 of queries with one relevant document each."""
    gains = np.where(ranks < 10, 1 / np.log2(ranks + 2), 0.0)
    return float(gains.mean())


def recall_at_1(ranks: Int64[np.ndarray, " q"]) -> float:
    """The share of queries that find their document first."""
    return float((ranks == 0).mean())
