"""`TrainingData`: documents, queries, and the relevance judgments that connect them."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import DimsError, IdsError, InputError, VectorsError
from nestvec.keywords import check_seed
from nestvec.metrics import Id, Qrels
from nestvec.shapes import Float, Float32, Int64
from nestvec.vectors import (
    BLOCK_ROWS,
    check_dims,
    check_finite,
    check_magnitude,
    check_vectors,
    normalize,
)

_log = logging.getLogger("nestvec.adapt")

MAX_ROWS = 50_000
"""Documents that are used, drawn at random from more; the paper's "corpus batch"."""

Pairs = Sequence[Sequence[Any]] | Qrels
"""(query id, document id) or (query id, document id, grade), or qrels."""


class Judgments(NamedTuple):
    """Relevance judgments by row number: one entry per pair, ordered by query."""

    queries: Int64[np.ndarray, " pairs"]
    documents: Int64[np.ndarray, " pairs"]
    grades: Float32[np.ndarray, " pairs"]

    def select(self, query_rows: Int64[np.ndarray, " selected"]) -> "Judgments":
        """Select the pairs of some queries, and renumber these in the order of `query_rows`."""
        max_row = int(max(self.queries.max(initial=-1), query_rows.max(initial=-1)))
        new_rows = np.full(max_row + 1, -1)
        new_rows[query_rows] = np.arange(len(query_rows))
        queries = new_rows[self.queries]
        selected = queries >= 0
        order = np.argsort(queries[selected], kind="stable")
        return Judgments(
            *(part[selected][order] for part in (queries, self.documents, self.grades))
        )


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Unit rows of documents and queries, with judgments where there are some.

    `self_match` is the document that each query was drawn from, or −1.
    """

    documents: Float32[np.ndarray, "n dim"]
    queries: Float32[np.ndarray, "q dim"]
    self_match: Int64[np.ndarray, " q"]
    judgments: Judgments | None = None

    @classmethod
    def read(
        cls,
        vectors: ArrayLike,
        pairs: Pairs | None = None,
        queries: ArrayLike | None = None,
        ids: Sequence[Id] | np.ndarray | None = None,
        query_ids: Sequence[Id] | np.ndarray | None = None,
        seed: int = 0,
    ) -> "TrainingData":
        """Check rows and pairs, scale rows to unit length, and draw `MAX_ROWS` documents at most.

        They include all documents that `pairs` name. Without `queries`, documents take their place:
        those that `pairs` name as queries, or all. `InputError` for data that cannot be used.
        """
        check_seed(seed)
        array = check_vectors(vectors)
        query_array = None if queries is None else check_vectors(queries, "queries", array.shape[1])
        if query_array is None and query_ids is not None:
            raise InputError("query_ids need queries; give both, or neither")
        document_rows = _rows_by_id(ids, len(array), "ids")
        query_rows = (
            document_rows
            if query_array is None
            else _rows_by_id(query_ids, len(query_array), "query_ids")
        )
        judgments = None if pairs is None else _read_pairs(pairs, query_rows, document_rows)
        rng = np.random.default_rng([seed, 1])
        sample = _draw_documents(len(array), judgments, query_array is None, rng)
        documents = _unit_rows(array, sample, "vectors")
        if judgments is not None:
            judgments = judgments._replace(documents=np.searchsorted(sample, judgments.documents))
        if query_array is not None:
            query_vectors = _unit_rows(query_array, np.arange(len(query_array)), "queries")
            no_match = np.full(len(query_vectors), -1)
            return cls(documents, query_vectors, no_match, judgments)._with_judgments_only()
        if judgments is not None:
            judgments = judgments._replace(queries=np.searchsorted(sample, judgments.queries))
        self_match = np.arange(len(documents))
        return cls(documents, documents, self_match, judgments)._with_judgments_only()

    @property
    def dim(self) -> int:
        """Width of the rows."""
        return int(self.documents.shape[1])

    def select_queries(self, rows: Int64[np.ndarray, " selected"]) -> "TrainingData":
        """Keep only some of the queries, in the order of `rows`."""
        judgments = None if self.judgments is None else self.judgments.select(rows)
        return replace(
            self,
            queries=self.queries[rows],
            self_match=self.self_match[rows],
            judgments=judgments,
        )

    def fingerprint(self) -> str:
        """Hash all of it: SHA-256, in hex."""
        total = hashlib.sha256()
        for array in (self.documents, self.queries, self.self_match, *(self.judgments or ())):
            total.update(np.ascontiguousarray(array).data.cast("B"))
        return total.hexdigest()

    def _with_judgments_only(self) -> "TrainingData":
        if self.judgments is None:
            return self
        return self.select_queries(np.unique(self.judgments.queries))


def _rows_by_id(ids: Sequence[Id] | np.ndarray | None, n: int, name: str) -> dict[Any, int]:
    """Map each id to its row; ids are row numbers by default."""
    listed = range(n) if ids is None else [i.item() if hasattr(i, "item") else i for i in ids]
    rows = {id_: row for row, id_ in enumerate(listed)}
    if len(listed) != n or len(rows) != n:
        raise IdsError(f"{len(listed)} {name}, {len(rows)} different, for {n} rows; give one each")
    return rows


def _read_pairs(
    pairs: Pairs, query_rows: Mapping[Any, int], document_rows: Mapping[Any, int]
) -> Judgments:
    grades: dict[tuple[int, int], float] = {}
    for query, document, grade in _triples(pairs):
        if query not in query_rows or document not in document_rows:
            kind, id_ = ("document", document) if query in query_rows else ("query", query)
            raise IdsError(
                f"pairs name the {kind} {id_!r}, which is not among the ids; use ids of the rows"
            )
        if not np.isfinite(grade):
            raise InputError(f"pairs grade {query!r}, {document!r} with {grade}; use numbers")
        if grade > 0:
            grades[query_rows[query], document_rows[document]] = grade
    if not grades:
        raise InputError("pairs name no relevant document; give some, or None to do without")
    order = sorted(grades)
    queries, documents = np.array(order, np.int64).T
    return Judgments(queries, documents, np.array([grades[pair] for pair in order], np.float32))


def _triples(pairs: Pairs) -> list[tuple[Any, Any, float]]:
    if isinstance(pairs, Mapping):
        return [
            (query, document, float(grade))
            for query, grades in pairs.items()
            for document, grade in grades.items()
        ]
    for pair in pairs:
        if isinstance(pair, str) or len(pair) not in (2, 3):
            raise InputError(f"pairs hold {pair!r}; each is (query id, document id[, grade])")
    return [(pair[0], pair[1], float(pair[2]) if len(pair) == 3 else 1.0) for pair in pairs]


def _draw_documents(
    n: int, judgments: Judgments | None, queries_are_documents: bool, rng: np.random.Generator
) -> Int64[np.ndarray, " sample"]:
    """Draw rows, ascending: all that pairs name, and others at random."""
    if n <= MAX_ROWS:
        return np.arange(n)
    named = np.empty(0, np.int64)
    if judgments is not None:
        parts = [judgments.documents, *([judgments.queries] if queries_are_documents else [])]
        named = np.unique(np.concatenate(parts))
    others = rng.permutation(np.setdiff1d(np.arange(n), named))
    return np.sort(np.concatenate([named, others[: max(0, MAX_ROWS - len(named))]]))


def _unit_rows(
    array: Float[np.ndarray, "n dim"], rows: Int64[np.ndarray, " m"], name: str
) -> Float32[np.ndarray, "m dim"]:
    unit = np.empty((len(rows), array.shape[1]), np.float32)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = _checked_block(array, rows[start : start + BLOCK_ROWS], name)
        unit[start : start + len(block)] = normalize(np.asarray(block, np.float32))
    return unit


def _checked_block(
    array: Float[np.ndarray, "n dim"], rows: Int64[np.ndarray, " m"], name: str
) -> Float[np.ndarray, "m dim"]:
    """Take some rows; `VectorsError` names a bad one by its number among all of them."""
    block: Float[np.ndarray, "m dim"] = array[rows]
    try:
        check_finite(block, name)
        check_magnitude(block, name)
    except VectorsError:
        for position, row in enumerate(rows.tolist()):
            check_finite(block[position : position + 1], name, row)
            check_magnitude(block[position : position + 1], name, row)
        raise
    return block


def check_dims_list(dims: Any, width: int) -> tuple[int, ...]:
    """Check prefix widths to train for: ascending, none wider than `width`; else `DimsError`."""
    try:
        nesting_dims = tuple(check_dims(prefix, width) for prefix in dims)
    except TypeError:
        raise DimsError(f"dims={dims!r} is no list; give several, such as dims=[32, 64]") from None
    if not nesting_dims or any(a >= b for a, b in pairwise(nesting_dims)):
        raise DimsError(
            f"dims={list(nesting_dims)} do not ascend; give each once, the smallest first"
        )
    return nesting_dims


def check_rank(documents: Float32[np.ndarray, "n dim"], nesting_dims: tuple[int, ...]) -> None:
    """Refuse rows that span fewer dimensions than the widest prefix below full width.

    `VectorsError`. Full width needs no rank: directions that no vector has take part in no score,
    and are completed to an orthonormal basis. A log message says how many there are; the packaged
    MiniLM leaves 3 of its 384 dimensions empty.
    """
    n, dim = documents.shape
    widest = max((dims for dims in nesting_dims if dims < dim), default=1)
    if n < widest:
        raise VectorsError(
            f"there are {n} vectors for prefixes of {widest} dimensions; give at least as many "
            "as the widest prefix has, and better a hundred times as many, or smaller dims"
        )
    # In float64: the mean direction of some models is a million times as strong as the weakest.
    sample = documents[:: max(1, n // (4 * dim))].astype(np.float64)
    strength = np.sqrt(np.maximum(np.linalg.eigvalsh(sample.T @ sample), 0))
    rank = int((strength > strength[-1] * dim * 2.0**-23).sum())
    if rank < widest:
        raise VectorsError(
            f"the vectors span only {rank} of their {dim} dimensions, fewer than the {widest} "
            "of the widest prefix; give vectors that differ more, or smaller dims"
        )
    if rank < nesting_dims[-1]:
        _log.info("the vectors span %d of their %d dimensions; the others are completed", rank, dim)
