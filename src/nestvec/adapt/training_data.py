"""What an adapter is fitted to: documents, queries, and which of them belong together."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import IdsError, InputError, VectorsError
from nestvec.metrics import Id, Qrels
from nestvec.shapes import Float, Float32, Int64
from nestvec.vectors import BLOCK_ROWS, check_finite, check_magnitude, check_vectors, normalize

MOST_ROWS = 50_000
"""Documents that are looked at, drawn at random of more; the paper's "corpus batch"."""

Pairs = Sequence[Sequence[Any]] | Qrels
"""(query id, document id) or (query id, document id, grade), or qrels."""


class Judged(NamedTuple):
    """Which documents answer which queries: one entry per pair, by query."""

    queries: Int64[np.ndarray, " pairs"]
    documents: Int64[np.ndarray, " pairs"]
    grades: Float32[np.ndarray, " pairs"]

    def of(self, queries: Int64[np.ndarray, " some"]) -> "Judged":
        """The pairs of some queries, which are then numbered in the order given."""
        place = np.full(int(max(self.queries.max(initial=-1), queries.max(initial=-1))) + 1, -1)
        place[queries] = np.arange(len(queries))
        at = place[self.queries]
        order = np.argsort(at[at >= 0], kind="stable")
        return Judged(*(part[at >= 0][order] for part in (at, self.documents, self.grades)))


@dataclass(frozen=True, eq=False)
class Material:
    """Unit rows; `own` is the document that each query is, or −1; `judged` is None unlabelled."""

    documents: Float32[np.ndarray, "n dim"]
    queries: Float32[np.ndarray, "q dim"]
    own: Int64[np.ndarray, " q"]
    judged: Judged | None = None

    @classmethod
    def read(
        cls,
        vectors: ArrayLike,
        pairs: Pairs | None = None,
        queries: ArrayLike | None = None,
        ids: Sequence[Id] | np.ndarray | None = None,
        query_ids: Sequence[Id] | np.ndarray | None = None,
        seed: int = 0,
    ) -> "Material":
        """Checked, scaled to unit length, and no more documents than `MOST_ROWS` and the judged.

        Without `queries` documents stand for them: those that `pairs` name first, or all.
        """
        if seed < 0:
            raise InputError(f"seed={seed} is below 0; use 0 or more")
        array = check_vectors(vectors)
        asked = None if queries is None else check_vectors(queries, "queries", array.shape[1])
        if asked is None and query_ids is not None:
            raise InputError("query_ids are given without queries; give both, or neither")
        document_ids = _ids(ids, len(array), "ids")
        named = document_ids if asked is None else _ids(query_ids, len(asked), "query_ids")
        judged = None if pairs is None else _read_pairs(pairs, named, document_ids)
        kept = _chosen(len(array), judged, asked is None, np.random.default_rng([seed, 1]))
        documents = _unit(array, kept, "vectors")
        if judged is not None:
            judged = judged._replace(documents=np.searchsorted(kept, judged.documents))
        if asked is not None:
            rows = _unit(asked, np.arange(len(asked)), "queries")
            none = np.full(len(rows), -1)
            return cls(documents, rows, none, judged)._that_are_judged()
        if judged is not None:
            judged = judged._replace(queries=np.searchsorted(kept, judged.queries))
        every = np.arange(len(documents))
        return cls(documents, documents, every, judged)._that_are_judged()

    @property
    def dim(self) -> int:
        """Width of the rows."""
        return int(self.documents.shape[1])

    def ask(self, chosen: Int64[np.ndarray, " some"]) -> "Material":
        """Only some of the queries."""
        judged = None if self.judged is None else self.judged.of(chosen)
        return replace(self, queries=self.queries[chosen], own=self.own[chosen], judged=judged)

    def digest(self) -> str:
        """SHA-256 of all of it."""
        found = hashlib.sha256()
        for array in (self.documents, self.queries, self.own, *(self.judged or ())):
            found.update(np.ascontiguousarray(array).data.cast("B"))
        return found.hexdigest()

    def _that_are_judged(self) -> "Material":
        return self if self.judged is None else self.ask(np.unique(self.judged.queries))


def _ids(given: Sequence[Id] | np.ndarray | None, n: int, name: str) -> dict[Any, int]:
    """The row of each id; row numbers where none are given."""
    listed = range(n) if given is None else [i.item() if hasattr(i, "item") else i for i in given]
    rows = {id_: row for row, id_ in enumerate(listed)}
    if len(listed) != n or len(rows) != n:
        raise IdsError(f"{len(listed)} {name}, {len(rows)} different, for {n} rows; give one each")
    return rows


def _read_pairs(pairs: Pairs, queries: Mapping[Any, int], documents: Mapping[Any, int]) -> Judged:
    rows: dict[tuple[int, int], float] = {}
    for query, document, grade in _triples(pairs):
        if query not in queries or document not in documents:
            kind, id_ = ("document", document) if query in queries else ("query", query)
            raise IdsError(f"pairs name the {kind} {id_!r}, which is not among the ids given")
        if not np.isfinite(grade):
            raise InputError(f"pairs give {query!r}, {document!r} the grade {grade}; use numbers")
        if grade > 0:
            rows[queries[query], documents[document]] = grade
    if not rows:
        raise InputError("pairs name no relevant document; give some, or None to do without")
    order = sorted(rows)
    asked, found = np.array(order, np.int64).T
    return Judged(asked, found, np.array([rows[pair] for pair in order], np.float32))


def _triples(pairs: Pairs) -> list[tuple[Any, Any, float]]:
    if isinstance(pairs, Mapping):
        return [(q, d, float(grade)) for q, of in pairs.items() for d, grade in of.items()]
    for pair in pairs:
        if isinstance(pair, str) or len(pair) not in (2, 3):
            raise InputError(f"pairs hold {pair!r}; each is (query id, document id[, grade])")
    return [(pair[0], pair[1], float(pair[2]) if len(pair) == 3 else 1.0) for pair in pairs]


def _chosen(
    n: int, judged: Judged | None, own: bool, rng: np.random.Generator
) -> Int64[np.ndarray, " kept"]:
    """The rows that are looked at, rising: all that are named, and others at random."""
    if n <= MOST_ROWS:
        return np.arange(n)
    parts = [] if judged is None else [judged.documents, *([judged.queries] if own else [])]
    named = np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)
    others = rng.permutation(np.setdiff1d(np.arange(n), named))
    return np.sort(np.concatenate([named, others[: max(0, MOST_ROWS - len(named))]]))


def _unit(
    array: Float[np.ndarray, "n dim"], kept: Int64[np.ndarray, " kept"], name: str
) -> Float32[np.ndarray, "kept dim"]:
    rows = np.empty((len(kept), array.shape[1]), np.float32)
    for first in range(0, len(kept), BLOCK_ROWS):
        chosen = kept[first : first + BLOCK_ROWS]
        block = _checked(array, chosen, name)
        rows[first : first + len(block)] = normalize(np.asarray(block, np.float32))
    return rows


def _checked(
    array: Float[np.ndarray, "n dim"], chosen: Int64[np.ndarray, " some"], name: str
) -> Float[np.ndarray, "some dim"]:
    """Some rows; `VectorsError` names one that will not do by its place among all of them."""
    block: Float[np.ndarray, "some dim"] = array[chosen]
    try:
        check_finite(block, name)
        check_magnitude(block, name)
    except VectorsError:
        for place, row in enumerate(chosen.tolist()):
            check_finite(block[place : place + 1], name, row)
            check_magnitude(block[place : place + 1], name, row)
        raise
    return block


def check_rank(documents: Float32[np.ndarray, "n dim"], sizes: tuple[int, ...]) -> None:
    """`VectorsError` where rows span fewer dimensions than the widest prefix is to have.

    Full rank is not asked for: the packaged MiniLM itself leaves 3 of its 384 dimensions empty.
    """
    n, dim = documents.shape
    if n < sizes[-1]:
        raise VectorsError(
            f"{n} vectors are given for prefixes of {sizes[-1]} dimensions; give at least as many "
            "as the widest prefix has, and better a hundred times as many, or smaller dims"
        )
    # In float64: the mean direction of some models is a million times as strong as the weakest.
    some = documents[:: max(1, n // (4 * dim))].astype(np.float64)
    strength = np.sqrt(np.maximum(np.linalg.eigvalsh(some.T @ some), 0))
    rank = int((strength > strength[-1] * dim * 2.0**-23).sum())
    if rank < sizes[-1]:
        raise VectorsError(
            f"the vectors span only {rank} of their {dim} dimensions, fewer than the {sizes[-1]} "
            "of the widest prefix; give vectors that differ more, or smaller dims"
        )
