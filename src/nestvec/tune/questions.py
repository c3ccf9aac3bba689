"""Queries with their exact answers, and how much of these a plan finds."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nestvec.index import Hits, Index
from nestvec.index.snapshot import Snapshot
from nestvec.metrics import recall_at_k
from nestvec.plan import Plan
from nestvec.progress import Progress
from nestvec.shapes import Float32, Float64, Int64, UInt64

_BLOCK_QUERIES = 256
_BLOCK_ROWS = 4096
_NONE = -1


class Measured(NamedTuple):
    """What a plan finds of each query's exact top k, and what that costs."""

    recalls: Float64[np.ndarray, " q"]
    bytes_per_query: float


@dataclass(frozen=True, eq=False)
class Questions:
    """Queries and their exact top `k`, without the rows that they are themselves.

    A query that equals a stored row, number by number, was most likely drawn from the index: it
    finds itself more easily than a new query finds anything. That row (the first, of several) is
    left out of the truth and of every answer.
    """

    index: Index
    queries: Float32[np.ndarray, "q dim"]
    k: int
    own: Int64[np.ndarray, " q"]
    """The row that each query is, or −1."""
    truth: Int64[np.ndarray, "q k"]

    @classmethod
    def ask(cls, index: Index, queries: ArrayLike, k: int, progress: Progress) -> "Questions":
        """With the answers of `search(exact=True)`."""
        array = index.adapt(queries)
        own = own_rows(index.snapshot, array)
        depth = _depth(own, k)
        truth = np.empty((len(array), k), np.int64)
        with progress("exact answers", len(array)) as advance:
            for first in range(0, len(array), _BLOCK_QUERIES):
                block = slice(first, first + _BLOCK_QUERIES)
                hits = index.search(array[block], depth, exact=True, adapted_by=_adapter(index))
                truth[block] = _others(hits, own[block], k)
                advance(len(hits))
        return cls(index, array, k, own, truth)

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, rows: Int64[np.ndarray, " some"]) -> "Questions":
        """Some of them."""
        return Questions(self.index, self.queries[rows], self.k, self.own[rows], self.truth[rows])

    @property
    def optimistic(self) -> int:
        """How many queries are rows of the index."""
        return int(np.count_nonzero(self.own != _NONE))

    @property
    def depth(self) -> int:
        """How many rows a search is asked for: one more where a query may find itself."""
        return _depth(self.own, self.k)

    def measure(self, plan: Plan) -> Measured:
        """Recall by row number, which never overstates: of equal scores exact search names one."""
        adapted = _adapter(self.index)
        hits = self.index.search(self.queries, self.depth, plan=plan, adapted_by=adapted)
        found = _others(hits, self.own, self.k)
        cost = float(hits.stats.size_bytes) / len(self)
        return Measured(recall_at_k(found, self.truth, self.k), cost)


def _adapter(index: Index) -> str | None:
    """The fingerprint of the adapter that the queries went through."""
    return None if index.adapter is None else index.adapter.fingerprint


def own_rows(snapshot: Snapshot, queries: Float32[np.ndarray, "q dim"]) -> Int64[np.ndarray, " q"]:
    """The first live row whose stored vector equals each query in every number, or −1."""
    # A sum of products with odd numbers, modulo 2⁶⁴, tells vectors apart but for rare chances.
    salt = np.random.default_rng(0).integers(0, 1 << 63, snapshot.dim, dtype=np.uint64) * 2 + 1
    by_key: defaultdict[int, list[int]] = defaultdict(list)
    for query, key in enumerate(_keys(queries, salt).tolist()):
        by_key[key].append(query)
    own = np.full(len(queries), _NONE, np.int64)
    for key, number, vector in _alike(snapshot, np.fromiter(by_key, np.uint64), salt):
        for query in by_key[key]:
            if own[query] == _NONE and np.array_equal(queries[query], vector):
                own[query] = number
    return own


def _alike(
    snapshot: Snapshot, wanted: UInt64[np.ndarray, " keys"], salt: UInt64[np.ndarray, " dim"]
) -> Iterator[tuple[int, int, Float32[np.ndarray, " dim"]]]:
    """Key, row number and vector of each live row that has one of the keys, by row."""
    for part in snapshot.parts:
        live = np.ones(len(part.rows), bool) if part.kept is None else part.kept
        for first in range(0, len(part.rows), _BLOCK_ROWS):
            block = part.rows.vectors[first : first + _BLOCK_ROWS]
            keys = _keys(block, salt)
            alike = np.isin(keys, wanted) & live[first : first + _BLOCK_ROWS]
            for at in np.flatnonzero(alike).tolist():
                yield int(keys[at]), int(part.rows.numbers[first + at]), block[at]


def _keys(
    vectors: Float32[np.ndarray, "n dim"], salt: UInt64[np.ndarray, " dim"]
) -> UInt64[np.ndarray, " n"]:
    """Equal for equal vectors: adding 0 turns −0 into 0."""
    words = np.ascontiguousarray(vectors + np.float32(0)).view(np.uint32)
    return np.asarray(words.astype(np.uint64) @ salt)


def _depth(own: Int64[np.ndarray, " q"], k: int) -> int:
    return k + bool((own != _NONE).any())


def _others(hits: Hits, own: Int64[np.ndarray, " q"], k: int) -> Int64[np.ndarray, "q k"]:
    """The first `k` rows found for each query that are not the query itself."""
    is_own = hits.rows == own[:, None]
    order = np.argsort(is_own, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(hits.rows, order, axis=1)
