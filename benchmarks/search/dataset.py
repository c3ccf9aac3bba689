"""A data set: vectors to search in, held-out queries, and the true answers to these."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

DATA = Path(__file__).parents[1] / "data"
"""Everything that is made once and kept: vectors, true answers, built indexes. Not in git."""

TRUTH_K = 100
_BLOCK_ROWS = 20_000


class Dataset(NamedTuple):
    """Vectors [n, dim] to search in and queries [q, dim] of the same kind, both float32.

    `metric` is "ip" (unit rows: the largest inner product is the nearest) or "euclidean".
    """

    name: str
    vectors: np.ndarray
    queries: np.ndarray
    metric: str = "ip"
    path: Path | None = None
    """The file it was read from, where the name is not that of a known set."""


class Truth(NamedTuple):
    """The true nearest rows [q, k] and their scores, best first; a larger score is nearer."""

    ids: np.ndarray
    scores: np.ndarray


def exact_truth(data: Dataset, k: int = TRUTH_K) -> Truth:
    """Float64 brute force over the float32 vectors; equal scores go to the smaller row. Cached."""
    path = DATA / "truth" / f"{data.name}.{fingerprint(data)}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        truth = brute_force(data, min(TRUTH_K, len(data.vectors)))
        np.savez(path, ids=truth.ids, scores=truth.scores)
    with np.load(path) as stored:
        return Truth(stored["ids"][:, :k], stored["scores"][:, :k])


def brute_force(data: Dataset, k: int) -> Truth:
    """What `exact_truth` keeps, computed block by block."""
    queries = data.queries.astype(np.float64)
    ids = np.zeros((len(queries), 0), np.int64)
    scores = np.zeros((len(queries), 0))
    for first in range(0, len(data.vectors), _BLOCK_ROWS):
        block = data.vectors[first : first + _BLOCK_ROWS].astype(np.float64)
        found = _best(score_all(queries, block, data.metric), k)
        # The best so far come first and have smaller rows: a stable sort keeps ties in row order.
        ids = np.hstack([ids, found.ids + first])
        scores = np.hstack([scores, found.scores])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        ids, scores = (np.take_along_axis(a, order, axis=1) for a in (ids, scores))
    return Truth(ids, scores)


def score_all(queries: np.ndarray, vectors: np.ndarray, metric: str) -> np.ndarray:
    """Scores [q, n]: inner products, or negative Euclidean distances."""
    products = queries @ vectors.T
    if metric == "ip":
        return products
    squares = (queries**2).sum(axis=1)[:, None] + (vectors**2).sum(axis=1)
    return -np.sqrt(np.maximum(squares - 2 * products, 0))


def score_found(data: Dataset, ids: np.ndarray) -> np.ndarray:
    """Float64 scores [q, k] of the rows found [q, k]; −inf where nothing was found (−1)."""
    scores = np.empty(ids.shape)
    for i, (query, rows) in enumerate(zip(data.queries, ids, strict=True)):
        vectors = data.vectors[np.maximum(rows, 0)].astype(np.float64)
        scores[i] = score_all(query[None].astype(np.float64), vectors, data.metric)[0]
    return np.where(ids < 0, -np.inf, scores)


def _best(scores: np.ndarray, k: int) -> Truth:
    """The k best columns of each row: whatever ties with the k-th is looked at, smallest first."""
    if scores.shape[1] <= k:
        order = np.argsort(-scores, axis=1, kind="stable")
        return Truth(order, np.take_along_axis(scores, order, axis=1))
    kth = -np.partition(-scores, k - 1, axis=1)[:, k - 1]
    ids = np.empty((len(scores), k), np.int64)
    for i, row in enumerate(scores):
        enough = np.flatnonzero(row >= kth[i])
        ids[i] = enough[np.argsort(-row[enough], kind="stable")[:k]]
    return Truth(ids, np.take_along_axis(scores, ids, axis=1))


def is_unit(data: Dataset) -> bool:
    """Whether rows have length 1, going by 500 of them."""
    lengths = np.linalg.norm(data.vectors[:: max(1, len(data.vectors) // 500)], axis=1)
    return data.metric == "ip" and bool(np.allclose(lengths, 1, atol=1e-3))


def fingerprint(data: Dataset) -> str:
    """Tells apart sets of one name: shapes, the queries, and some rows."""
    digest = hashlib.sha256(repr((data.vectors.shape, data.queries.shape, data.metric)).encode())
    digest.update(np.ascontiguousarray(data.queries).tobytes())
    digest.update(np.ascontiguousarray(data.vectors[:: max(1, len(data.vectors) // 500)]).tobytes())
    return digest.hexdigest()[:12]
