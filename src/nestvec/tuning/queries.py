"""What a caller asks with: queries and, for a promise about relevance, what people judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import IdsError, InputError
from nestvec.index import Index
from nestvec.index.records import check_ids
from nestvec.metrics import Id, Qrels
from nestvec.progress import Progress
from nestvec.shapes import Float32
from nestvec.tuning.ground_truth import Grades, Questions
from nestvec.tuning.guarantee import Promise
from nestvec.vectors import as_queries

_ELSEWHERE = -2
"""Documents that are not in the index count down from here: they can be missed, never found."""


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """Queries [q, dim], and grades by the ids of queries (None: row numbers) and documents."""

    queries: ArrayLike
    qrels: Qrels | None = None
    query_ids: Sequence[Id] | np.ndarray | None = None

    def of(self, index: Index, promise: Promise, progress: Progress) -> Questions:
        """The questions with their exact answers; for nDCG only those with a relevant document.

        `InputError` where there are judgements for a promise that needs none, or the reverse.
        """
        if promise.loss == "ndcg":
            queries, grades = self._judged(index, promise)
            return Questions.ask(index, queries, promise.k, progress, grades)
        if self.qrels is not None or self.query_ids is not None:
            raise InputError(f"qrels and query_ids say nothing of '{promise}'; leave them out")
        return Questions.ask(index, self.queries, promise.k, progress)

    def _judged(
        self, index: Index, promise: Promise
    ) -> tuple[Float32[np.ndarray, "q dim"], tuple[Grades, ...]]:
        """The queries that have a relevant document, and the grades of each one's documents."""
        if self.qrels is None:
            raise InputError(f"'{promise}' is about relevance; give qrels, what people judged")
        array = as_queries(self.queries, index.dim if index.adapter is None else index.adapter.dim)
        given = range(len(array)) if self.query_ids is None else self.query_ids
        ids = check_ids(given, len(array)).tolist()
        kept = [row for row, id_ in enumerate(ids) if _is_relevant(self.qrels.get(id_, {}))]
        if not kept:
            raise InputError(
                f"qrels name no relevant document for any of {len(array)} queries; their queries "
                f"are such as {list(self.qrels)[:1]}, those given such as {ids[:1]}"
            )
        return array[kept], _by_row(index, [self.qrels[ids[row]] for row in kept])


def _is_relevant(grades: Mapping[Id, float | int]) -> bool:
    return any(grade > 0 for grade in grades.values())


def _by_row(index: Index, judged: Sequence[Mapping[Id, float | int]]) -> tuple[Grades, ...]:
    """Each query's grades by row number."""
    kinds = {"str" if isinstance(doc, str) else "int" for grades in judged for doc in grades}
    if kinds and index.snapshot.ids_kind not in (None, *kinds):
        raise IdsError(
            f"qrels name documents by {kinds.pop()}, {index.path} by {index.snapshot.ids_kind}, so "
            "none could match; use the ids of the index"
        )
    numbers = dict(zip(index.ids.tolist(), index.snapshot.numbers().tolist(), strict=True))
    return tuple(
        {
            numbers.get(doc, _ELSEWHERE - place): float(grade)
            for place, (doc, grade) in enumerate(grades.items())
        }
        for grades in judged
    )
