"""Queries with their exact answers, and how much of these a plan finds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import InputError
from nestvec.index import Index
from nestvec.index.run import run_scan
from nestvec.metrics import Id, Qrels, ndcg_at_k
from nestvec.plan import Plan
from nestvec.progress import Progress
from nestvec.shapes import Bool, Float32, Float64, Int64
from nestvec.tuning.self_match import NONE, others, own_rows

_BLOCK_QUERIES = 256

Grades = Mapping[Id, float]
"""Grades of one query's documents by row number; those that the index lacks are below −1."""


class Found(NamedTuple):
    """What a plan finds for each query, best first, and what that costs."""

    rows: Int64[np.ndarray, "q found"]
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
    tied: Bool[np.ndarray, " q"]
    """Where another row may score as the k-th does."""
    grades: tuple[Grades, ...] | None = None
    """What people judged relevant, query by query."""

    @classmethod
    def ask(
        cls,
        index: Index,
        queries: ArrayLike,
        k: int,
        progress: Progress,
        grades: tuple[Grades, ...] | None = None,
    ) -> "Questions":
        """With the answers of `search(exact=True)`."""
        array = index.adapt(queries)
        if not len(array):
            raise InputError("there are no queries; give some, hundreds to promise anything")
        own = own_rows(index.snapshot, array)
        truth, tied = np.empty((len(array), k), np.int64), np.zeros(len(array), bool)
        depth = k + bool((own != NONE).any())
        depth = max(depth, min(depth + 1, len(index)))  # the next one shows whether there is a tie
        with progress("exact answers", len(array)) as advance:
            for first in range(0, len(array), _BLOCK_QUERIES):
                block = slice(first, first + _BLOCK_QUERIES)
                hits = index.search(array[block], depth, exact=True, adapted_by=_adapter(index))
                places = others(hits, own[block])
                truth[block] = np.take_along_axis(hits.rows, places[:, :k], axis=1)
                # Float32 scores: those that are equal in float64 are equal here.
                ends = np.take_along_axis(hits.scores, places[:, k - 1 : k + 1], axis=1)
                tied[block] = (ends.shape[1] == 2) & (ends[:, 0] == ends[:, -1])
                advance(len(hits))
        return cls(index, array, k, own, truth, tied, grades)

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, rows: Int64[np.ndarray, " some"]) -> "Questions":
        """Some of them."""
        grades = None if self.grades is None else tuple(self.grades[row] for row in rows)
        parts = {name: getattr(self, name)[rows] for name in ("queries", "own", "truth", "tied")}
        return replace(self, **parts, grades=grades)

    @property
    def optimistic(self) -> int:
        """How many queries are rows of the index."""
        return int(np.count_nonzero(self.own != NONE))

    def find(self, plan: Plan, rows: int) -> Found:
        """So many rows as `plan` finds them, not counting, where it keeps more, a query itself."""
        kept = min((stage.keep for stage in plan.stages), default=len(self.index))
        asked = min(rows + bool(self.optimistic), max(rows, kept), len(self.index))
        adapted = _adapter(self.index)
        hits = self.index.search(self.queries, asked, plan=plan, adapted_by=adapted)
        found = np.take_along_axis(hits.rows, others(hits, self.own)[:, :rows], axis=1)
        return Found(found, float(hits.stats.size_bytes) / len(self))

    def recalls(self, found: Int64[np.ndarray, "q found"]) -> Float64[np.ndarray, " q"]:
        """The share of each exact top k that is found.

        Of rows with equal scores exact search names the first; the others are as good.
        """
        hit = [np.isin(true, rows).sum() for true, rows in zip(self.truth, found, strict=True)]
        hits = np.array(hit, np.int64)
        for query in np.flatnonzero(self.tied & (hits < self.k)).tolist():
            hits[query] += self._stand_ins(query, found[query])
        return hits / self.k

    def _stand_ins(self, query: int, found: Int64[np.ndarray, " found"]) -> int:
        """How many rows that are found score as missed ones do that tie for the last place."""
        missed = np.setdiff1d(self.truth[query], found)
        rest = np.setdiff1d(found, [*self.truth[query].tolist(), NONE])
        rows = [*self.truth[query, -1:].tolist(), *missed.tolist(), *rest.tolist()]
        vectors, places = self.index.snapshot.vectors_of(rows), np.arange(len(rows))
        asked = self.queries[query : query + 1]
        scored = run_scan(vectors, places, asked, len(rows), 1, self.index.metric)
        scores = np.empty(len(rows))
        scores[scored.rows[0]] = scored.scores[0]
        tie = scores[1:] == scores[0]
        return int(min(tie[: len(missed)].sum(), tie[len(missed) :].sum()))

    @cached_property
    def exact_ndcg(self) -> Float64[np.ndarray, " q"]:
        """nDCG@k of the exact answers."""
        return self.ndcg(self.truth)

    def ndcg(self, found: Int64[np.ndarray, "q found"]) -> Float64[np.ndarray, " q"]:
        """nDCG@k against what people judged."""
        judged: Qrels = dict(enumerate(self.grades or ()))
        return ndcg_at_k(found, range(len(self)), judged, self.k)


def _adapter(index: Index) -> str | None:
    """The fingerprint of the adapter that the queries went through."""
    return None if index.adapter is None else index.adapter.fingerprint
