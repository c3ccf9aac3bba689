"""Quality metrics of rankings: one value per query, never a mean.

Each function returns a float64 array with one entry per query, so that callers can bootstrap
queries, pair two systems or look at the worst queries. There are two families:

- against the ground truth of exact search: `recall_at_k`, `recall_with_ties`, `overlap`;
- against relevance judgments: `relevance_recall_at_k`, `ndcg_at_k`, `mrr_at_k`.

Ranked ids are 2-D arrays [q, columns] of integers, strings or objects, best first, with at least
`k` columns; -1 (or None) stands for "no hit". An id that is repeated within a row counts once, at
its first place: ten copies of one relevant document are one relevant document.

Missing is not zero: a query without ground truth or relevant documents has no value, and is an
`InputError`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.deprecation import renamed_arguments
from nestvec.errors import IdsError, InputError
from nestvec.shapes import Float, Float64

Id = int | str

Ids = NDArray[Any]
"""Ranked ids [q, columns]: integers, strings or objects."""

Qrels = Mapping[Id, Mapping[Id, float | int]]
"""Query id -> document id -> grade. A grade above 0 is relevant, no grade is 0."""


@renamed_arguments({"found_ids": "retrieved_ids"})
def recall_at_k(retrieved_ids: Ids, true_ids: Ids, k: int) -> Float64[np.ndarray, " q"]:
    """Compute recall@k, |retrieved ∩ true| / |true|, over the first `k` ids of both rankings.

    |true| is `k`, or the number of true ids where there are fewer than `k` (small or filtered
    corpora, padded with -1). Order within the first `k` does not matter. Of rows with equal scores
    only those in `true_ids` count: see `recall_with_ties`. `InputError` for a query without true
    ids.
    """
    names = ("retrieved_ids", "true_ids")
    retrieved_sets, true_sets = _first_k_sets(retrieved_ids, true_ids, k, names)
    for row, ids in enumerate(true_sets):
        if not ids:
            raise InputError(
                f"true_ids[{row}] names no document, so its recall is not defined; leave it out"
            )
    return _per_query(len(f & t) / len(t) for f, t in zip(retrieved_sets, true_sets, strict=True))


@renamed_arguments({"found_ids": "retrieved_ids"})
def recall_with_ties(
    retrieved_ids: Ids,
    exact_scores: Float[np.ndarray, "q columns"],
    kth_scores: Float[np.ndarray, " q"],
    k: int,
    tolerance: float = 0.0,
) -> Float64[np.ndarray, " q"]:
    """Compute recall@k that does not depend on which of several equal rows exact search returns.

    An id earns 1/k when its exact score is at least the exact k-th best score of its query minus
    `tolerance` (the recall of ANN-Benchmarks, Aumüller et al., 2018, but with an absolute
    tolerance). `exact_scores[i, j]` is the exact score of `retrieved_ids[i, j]`; it is not read
    where there is no hit. With tolerance 0 both kinds of scores must come from the same arithmetic,
    or equal rows differ in the last bit. `k` may not exceed the corpus: `kth_scores` must be
    finite.
    """
    ids = _first_k(retrieved_ids, k, "retrieved_ids")
    if exact_scores.shape != retrieved_ids.shape or kth_scores.shape != retrieved_ids.shape[:1]:
        raise InputError(
            f"exact_scores {exact_scores.shape} and kth_scores {kth_scores.shape} do not fit "
            f"retrieved_ids {retrieved_ids.shape}; pass one score per id and one k-th score per "
            "query"
        )
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"tolerance={tolerance} is out of range; use a finite number from 0 on")
    if not np.isfinite(kth_scores).all():
        row = int(np.flatnonzero(~np.isfinite(kth_scores))[0])
        raise InputError(
            f"kth_scores[{row}] is {kth_scores[row]}; the k-th score must be finite: "
            "use a k that does not exceed the corpus"
        )
    is_good = exact_scores[:, :k] >= kth_scores[:, None].astype(np.float64) - tolerance
    credited = [
        {id_ for id_, good in zip(row, goods, strict=True) if good and _is_filled(id_)}
        for row, goods in zip(ids, is_good.tolist(), strict=True)
    ]
    return _per_query(len(credits) / k for credits in credited)


def overlap(a_ids: Ids, b_ids: Ids, k: int) -> Float64[np.ndarray, " q"]:
    """Compute the overlap of two rankings, |A ∩ B| / max(|A|, |B|), over their first `k` ids.

    It is symmetric, and the divisor is `k` where either ranking is full. `InputError` where both
    are empty.
    """
    a_sets, b_sets = _first_k_sets(a_ids, b_ids, k, ("a_ids", "b_ids"))
    for row, (a, b) in enumerate(zip(a_sets, b_sets, strict=True)):
        if not a and not b:
            raise InputError(
                f"a_ids[{row}] and b_ids[{row}] name no document, so there is nothing to compare; "
                "leave the query out"
            )
    return _per_query(len(a & b) / max(len(a), len(b)) for a, b in zip(a_sets, b_sets, strict=True))


def relevance_recall_at_k(
    ranked_ids: Ids, query_ids: Sequence[Id], qrels: Qrels, k: int
) -> Float64[np.ndarray, " q"]:
    """Compute relevance recall@k: relevant ids among the first `k`, divided by min(k, |R|).

    R are all relevant documents of the query. Division by |R| alone would cap the value below 1 for
    queries with more than `k` of them.
    """
    relevant = _relevant(query_ids, qrels)
    hits = (_grades(ranked_ids, relevant, k) > 0).sum(axis=1)
    return _per_query(hit / min(k, len(r)) for hit, r in zip(hits, relevant, strict=True))


def ndcg_at_k(
    ranked_ids: Ids, query_ids: Sequence[Id], qrels: Qrels, k: int
) -> Float64[np.ndarray, " q"]:
    """Compute nDCG@k, the normalised discounted cumulative gain of trec_eval: DCG@k / ideal DCG@k.

    DCG@k = Σ grade_i / log2(1 + i) over places i = 1..k: the gain is the grade itself, not
    2^grade − 1 (Järvelin & Kekäläinen, 2002). The ideal takes the grades of *all* judged documents
    of the query in descending order, the first `k` of them. Grades at or below 0 gain nothing.
    """
    relevant = _relevant(query_ids, qrels)
    gains = _grades(ranked_ids, relevant, k)
    ideal = np.zeros_like(gains)
    for row, grades in enumerate(relevant):
        best = sorted(grades.values(), reverse=True)[:k]
        ideal[row, : len(best)] = best
    return np.asarray(_dcg(gains) / _dcg(ideal))


def mrr_at_k(
    ranked_ids: Ids, query_ids: Sequence[Id], qrels: Qrels, k: int
) -> Float64[np.ndarray, " q"]:
    """Compute 1 / the rank of the first relevant document, 0 when none is among the first `k`.

    The mean over queries is the mean reciprocal rank (MRR@k).
    """
    is_relevant = _grades(ranked_ids, _relevant(query_ids, qrels), k) > 0
    first_place = is_relevant.argmax(axis=1)
    return np.asarray(is_relevant.any(axis=1) / (1.0 + first_place))


def _dcg(gains: Float64[np.ndarray, "q k"]) -> Float64[np.ndarray, " q"]:
    discounts = 1 / np.log2(np.arange(2, gains.shape[1] + 2))
    return np.asarray((gains * discounts).sum(axis=1))


def _per_query(values: Iterable[float]) -> Float64[np.ndarray, " q"]:
    return np.fromiter(values, dtype=np.float64)


def _is_filled(id_: Any) -> bool:
    return id_ is not None and id_ != -1


def _first_k(ids: Ids, k: int, name: str) -> list[list[Any]]:
    """Return the first `k` ids of each row as Python values, after the checks of every metric."""
    if isinstance(k, bool) or k < 1:
        raise InputError(f"k={k} is not a number of hits; use k >= 1")
    if ids.ndim != 2 or ids.dtype.kind not in "iuUO":
        raise IdsError(
            f"{name} have shape {ids.shape} and dtype {ids.dtype}; "
            "pass a 2-D array [queries, hits] of integers or strings"
        )
    if ids.shape[1] < k:
        raise InputError(
            f"{name} have {ids.shape[1]} columns, fewer than k={k}; search with k >= {k} "
            "(-1 stands for a hit that does not exist) or measure at a smaller k"
        )
    rows: list[list[Any]] = ids[:, :k].tolist()
    return rows


def _first_k_sets(
    a: Ids, b: Ids, k: int, names: tuple[str, str]
) -> tuple[list[set[Any]], list[set[Any]]]:
    """Collect the first `k` ids of two rankings of the same queries."""
    a_sets = [set(filter(_is_filled, row)) for row in _first_k(a, k, names[0])]
    b_sets = [set(filter(_is_filled, row)) for row in _first_k(b, k, names[1])]
    if len(a_sets) != len(b_sets):
        raise InputError(
            f"{names[0]} have {len(a_sets)} rows and {names[1]} have {len(b_sets)}; "
            "pass one row per query, in the same order"
        )
    _check_same_kind(a_sets, b_sets, names)
    return a_sets, b_sets


def _relevant(query_ids: Sequence[Id], qrels: Qrels) -> list[dict[Id, float]]:
    """Select each query's relevant documents with their grades; `InputError` where it has none."""
    relevant = []
    for query in query_ids:
        grades = qrels.get(query, {})
        for doc, grade in grades.items():
            if not math.isfinite(grade):
                raise InputError(f"qrels[{query!r}][{doc!r}] is {grade}; use finite grades")
        relevant.append({doc: float(grade) for doc, grade in grades.items() if grade > 0})
        if not relevant[-1]:
            raise InputError(
                f"query {query!r} has no relevant document in the qrels, so its value is "
                "not 0 but undefined; leave the query out"
            )
    return relevant


def _grades(ranked_ids: Ids, relevant: list[dict[Id, float]], k: int) -> Float64[np.ndarray, "q k"]:
    """Look up the grade at each of the first `k` places; 0 for no hit, repeats and the unjudged."""
    rows = _first_k(ranked_ids, k, "ranked_ids")
    if len(rows) != len(relevant):
        raise InputError(
            f"ranked_ids have {len(rows)} rows but query_ids name {len(relevant)} queries; "
            "pass one row per query, in the same order"
        )
    filled = [[id_ for id_ in row if _is_filled(id_)] for row in rows]
    _check_same_kind(filled, relevant, ("ranked_ids", "the judged documents"))
    grades = np.zeros((len(rows), k))
    for row, (ids, documents, grade_of) in enumerate(zip(rows, filled, relevant, strict=True)):
        for id_ in grade_of.keys() & set(documents):
            # A repeated document counts only at its first place.
            grades[row, ids.index(id_)] = grade_of[id_]
    return grades


def _check_same_kind(a: Sequence[Any], b: Sequence[Any], names: tuple[str, str]) -> None:
    """Raise `IdsError` for strings against integers, where every value would be a silent 0."""
    types = [set[type]().union(*(map(type, row) for row in side)) for side in (a, b)]
    kinds = [{issubclass(type_, str) for type_ in side} for side in types]
    if all(kinds) and kinds[0].isdisjoint(kinds[1]):
        words = ["strings" if True in kind else "integers" for kind in kinds]
        raise IdsError(
            f"{names[0]} are {words[0]} but {names[1]} are {words[1]}, so none could match; "
            "use the same ids on both sides"
        )
