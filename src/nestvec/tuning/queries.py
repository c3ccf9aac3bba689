"""Evaluation queries, with relevance judgments where the guarantee is about nDCG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import IdsError, InputError
from nestvec.index import Index
from nestvec.index.storage.row_records import check_ids
from nestvec.metrics import Id, Qrels
from nestvec.progress import Progress
from nestvec.shapes import Float32
from nestvec.tuning.ground_truth import Grades, GroundTruth
from nestvec.tuning.guarantee import Guarantee
from nestvec.vectors import as_queries

_NOT_IN_INDEX = -2
"""Number of the first document that is not in the index; further ones count down from it."""


@dataclass(frozen=True, eq=False, slots=True)
class EvaluationQueries:
    """Queries [q, dim], with grades by the ids of queries (None: row numbers) and of documents."""

    queries: ArrayLike
    qrels: Qrels | None = None
    query_ids: Sequence[Id] | np.ndarray | None = None

    def with_ground_truth(
        self, index: Index, guarantee: Guarantee, progress: Progress
    ) -> GroundTruth:
        """Compute the exact top k; for nDCG only of queries that have a relevant document.

        `InputError` where there are judgments for a guarantee that needs none, or the reverse.
        """
        if guarantee.measure == "ndcg":
            queries, grades = self._with_judgments(index, guarantee)
            return GroundTruth.compute(index, queries, guarantee.k, progress, grades)
        if self.qrels is not None or self.query_ids is not None:
            raise InputError(f"qrels and query_ids have no part in '{guarantee}'; leave them out")
        return GroundTruth.compute(index, self.queries, guarantee.k, progress)

    def _with_judgments(
        self, index: Index, guarantee: Guarantee
    ) -> tuple[Float32[np.ndarray, "q dim"], tuple[Grades, ...]]:
        """Select the queries that have a relevant document, with the grades of their documents."""
        if self.qrels is None:
            raise InputError(f"'{guarantee}' is about relevance; pass qrels (relevance judgments)")
        dim = index.dim if index.transform is None else index.transform.dim
        array = as_queries(self.queries, dim)
        query_ids = range(len(array)) if self.query_ids is None else self.query_ids
        ids = check_ids(query_ids, len(array)).tolist()
        rows = [row for row, id_ in enumerate(ids) if _is_relevant(self.qrels.get(id_, {}))]
        if not rows:
            raise InputError(
                f"qrels name no relevant document for any of {len(array)} queries; the qrels "
                f"name queries like {list(self.qrels)[:1]}, the query ids are like {ids[:1]}"
            )
        return array[rows], _grades_by_row(index, [self.qrels[ids[row]] for row in rows])


def _is_relevant(grades: Mapping[Id, float | int]) -> bool:
    return any(grade > 0 for grade in grades.values())


def _grades_by_row(
    index: Index, judgments: Sequence[Mapping[Id, float | int]]
) -> tuple[Grades, ...]:
    """Key each query's grades by row number instead of id."""
    kinds = {"str" if isinstance(doc, str) else "int" for grades in judgments for doc in grades}
    if kinds and index.snapshot.ids_kind not in (None, *kinds):
        raise IdsError(
            f"qrels name documents by {kinds.pop()}, {index.path} by {index.snapshot.ids_kind}, so "
            "none could match; use the ids of the index"
        )
    numbers = dict(zip(index.ids.tolist(), index.snapshot.numbers().tolist(), strict=True))
    return tuple(
        {
            numbers.get(doc, _NOT_IN_INDEX - place): float(grade)
            for place, (doc, grade) in enumerate(grades.items())
        }
        for grades in judgments
    )
