"""Queries with their exact top k, and how much of it a plan finds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import InputError
from nestvec.index import Index
from nestvec.index.search.segment_search import scan_rows
from nestvec.metrics import Id, Qrels, ndcg_at_k
from nestvec.plan import Plan
from nestvec.progress import Progress
from nestvec.self_match import NONE
from nestvec.shapes import Bool, Float32, Float64, Int64
from nestvec.tuning.self_match import find_self_matches, self_matches_last

_BLOCK_QUERIES = 256

Grades = Mapping[Id, float]
"""Grades of one query's documents by row number; documents that the index lacks are below −1."""


class PlanHits(NamedTuple):
    """The rows that a plan finds for each query, best first, and the bytes read per query."""

    rows: Int64[np.ndarray, "q k"]
    bytes_per_query: float


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Queries and their exact top `k`, without self-matches.

    A query that equals a stored row in every number was most likely drawn from the index, and finds
    itself more easily than a new query finds anything. That row, the first of several, is left out
    of the ground truth and of every plan's hits.
    """

    index: Index
    queries: Float32[np.ndarray, "q dim"]
    k: int
    self_match: Int64[np.ndarray, " q"]
    """The row that equals the query, or −1."""
    top_k: Int64[np.ndarray, "q k"]
    has_ties: Bool[np.ndarray, " q"]
    """True where another row may score as the k-th does."""
    grades: tuple[Grades, ...] | None = None
    """Relevance judgments, query by query."""

    @classmethod
    def compute(
        cls,
        index: Index,
        queries: ArrayLike,
        k: int,
        progress: Progress,
        grades: tuple[Grades, ...] | None = None,
    ) -> "GroundTruth":
        """Compute the ground truth by `search(exact=True)`, in blocks of queries."""
        array = index.transform_queries(queries)
        if not len(array):
            raise InputError("there are no queries; pass some, hundreds for a guarantee")
        fingerprint = _transform_fingerprint(index)
        self_match = find_self_matches(index.snapshot, array)
        top_k, has_ties = np.empty((len(array), k), np.int64), np.zeros(len(array), bool)
        depth = k + bool((self_match != NONE).any())
        depth = max(depth, min(depth + 1, len(index)))  # the next one shows whether there is a tie
        with progress("ground truth", len(array)) as advance:
            for start in range(0, len(array), _BLOCK_QUERIES):
                block = slice(start, start + _BLOCK_QUERIES)
                hits = index.search(array[block], depth, exact=True, transformed_by=fingerprint)
                places = self_matches_last(hits, self_match[block])
                top_k[block] = np.take_along_axis(hits.rows, places[:, :k], axis=1)
                # Float32 scores: those that are equal in float64 are equal here.
                ends = np.take_along_axis(hits.scores, places[:, k - 1 : k + 1], axis=1)
                has_ties[block] = (ends.shape[1] == 2) & (ends[:, 0] == ends[:, -1])
                advance(len(hits))
        return cls(index, array, k, self_match, top_k, has_ties, grades)

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, rows: Int64[np.ndarray, " m"]) -> "GroundTruth":
        """Select queries by position."""
        grades = None if self.grades is None else tuple(self.grades[row] for row in rows)
        parts = {
            name: getattr(self, name)[rows]
            for name in ("queries", "self_match", "top_k", "has_ties")
        }
        return replace(self, **parts, grades=grades)

    @property
    def n_self_matches(self) -> int:
        """The number of queries that equal a row of the index."""
        return int(np.count_nonzero(self.self_match != NONE))

    def search(self, plan: Plan, rows: int) -> PlanHits:
        """Search `rows` rows per query by `plan`; a self-match is left out where it keeps more."""
        n_candidates = min((stage.keep for stage in plan.stages), default=len(self.index))
        k = min(rows + bool(self.n_self_matches), max(rows, n_candidates), len(self.index))
        fingerprint = _transform_fingerprint(self.index)
        hits = self.index.search(self.queries, k, plan=plan, transformed_by=fingerprint)
        places = self_matches_last(hits, self.self_match)[:, :rows]
        return PlanHits(
            np.take_along_axis(hits.rows, places, axis=1), float(hits.stats.size_bytes) / len(self)
        )

    def recall(self, hits: Int64[np.ndarray, "q k"]) -> Float64[np.ndarray, " q"]:
        """Return the share of each query's exact top k that is among its hits (row numbers).

        Of rows with equal scores exact search returns the first; the others are as good.
        """
        counts = np.array(
            [np.isin(true, rows).sum() for true, rows in zip(self.top_k, hits, strict=True)],
            np.int64,
        )
        for query in np.flatnonzero(self.has_ties & (counts < self.k)).tolist():
            counts[query] += self._tie_substitutes(query, hits[query])
        return counts / self.k

    def _tie_substitutes(self, query: int, hits: Int64[np.ndarray, " k"]) -> int:
        """Count hits outside the top k that tie with the k-th, up to the missed rows that tie."""
        missed = np.setdiff1d(self.top_k[query], hits)
        outside = np.setdiff1d(hits, [*self.top_k[query].tolist(), NONE])
        rows = [*self.top_k[query, -1:].tolist(), *missed.tolist(), *outside.tolist()]
        vectors, places = self.index.snapshot.vectors_of(rows), np.arange(len(rows))
        vector = self.queries[query : query + 1]
        scored = scan_rows(vectors, places, vector, len(rows), 1, self.index.metric)
        scores = np.empty(len(rows))
        scores[scored.rows[0]] = scored.scores[0]
        tie = scores[1:] == scores[0]
        return int(min(tie[: len(missed)].sum(), tie[len(missed) :].sum()))

    @cached_property
    def exact_ndcg(self) -> Float64[np.ndarray, " q"]:
        """nDCG@k of the exact top k."""
        return self.ndcg(self.top_k)

    def ndcg(self, hits: Int64[np.ndarray, "q k"]) -> Float64[np.ndarray, " q"]:
        """nDCG@k against the relevance judgments."""
        judgments: Qrels = dict(enumerate(self.grades or ()))
        return ndcg_at_k(hits, range(len(self)), judgments, self.k)


def _transform_fingerprint(index: Index) -> str | None:
    """The fingerprint of the transform that the queries went through."""
    return None if index.transform is None else index.transform.fingerprint
