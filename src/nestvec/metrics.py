"""How good is a ranking: one value per query, never a mean.

Each function returns a float64 array with one entry per query, so that whoever summarises can
bootstrap queries, pair two systems or look at the worst. Two families, told apart by name:

- against exact search: `recall_at_k`, `recall_with_ties`, `overlap`;
- against people's judgements: `relevance_recall_at_k`, `ndcg_at_k`, `mrr_at_k`.

Ranked ids are 2-D arrays [q, columns] of integers, strings or objects, best first, with at least
`k` columns; -1 (or None) stands for "no answer". An id that is repeated within a row counts once,
at its first place: ten copies of one good answer are one good answer.

Missing is not zero: a query with nothing to find has no value here and is refused.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import IdsError, InputError
from nestvec.shapes import Float, Float64

Id = int | str

Ids = NDArray[Any]
"""Ranked ids [q, columns]: integers, strings or objects."""

Qrels = Mapping[Id, Mapping[Id, float | int]]
"""Query id -> document id -> grade. A grade above 0 is relevant; what is not named is grade 0."""


def recall_at_k(found_ids: Ids, true_ids: Ids, k: int) -> Float64[np.ndarray, " q"]:
    """The share of the true first `k` that is among the found first `k`: |found ∩ true| / |true|.

    |true| is `k`, or the number of true answers where there are fewer than `k` (small or filtered
    corpora, padded with -1). Order within the first `k` does not matter. Among rows with equal
    scores this counts only those that `true_ids` happens to name: see `recall_with_ties`.
    """
    found, true = _first_k_sets(found_ids, true_ids, k, ("found_ids", "true_ids"))
    for row, answers in enumerate(true):
        if not answers:
            raise InputError(f"true_ids[{row}] names no answer, so its recall is not defined")
    return _per_query(len(f & t) / len(t) for f, t in zip(found, true, strict=True))


def recall_with_ties(
    found_ids: Ids,
    exact_scores: Float[np.ndarray, "q found"],
    kth_scores: Float[np.ndarray, " q"],
    k: int,
    tolerance: float = 0.0,
) -> Float64[np.ndarray, " q"]:
    """Recall that does not depend on which of several equal rows exact search names.

    A found id earns 1/k when its exact score is at least the exact k-th best score of its query
    minus `tolerance` (the recall of ANN-Benchmarks, Aumüller et al., 2018, but with an absolute
    tolerance). `exact_scores[i, j]` is the exact score of `found_ids[i, j]`; it is not read where
    there is no answer. With tolerance 0 both kinds of scores must come from the same arithmetic, or
    equal rows will differ in the last bit. `k` may not exceed the corpus: `kth_scores` must be
    finite.
    """
    found = _first_k(found_ids, k, "found_ids")
    if exact_scores.shape != found_ids.shape or kth_scores.shape != found_ids.shape[:1]:
        raise InputError(
            f"exact_scores {exact_scores.shape} and kth_scores {kth_scores.shape} do not fit "
            f"found_ids {found_ids.shape}; give one score per found id and one k-th per query"
        )
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"tolerance={tolerance} must be a finite number of at least 0")
    if not np.isfinite(kth_scores).all():
        row = int(np.flatnonzero(~np.isfinite(kth_scores))[0])
        raise InputError(
            f"kth_scores[{row}] is {kth_scores[row]}; the k-th score must be finite: "
            "use a k that does not exceed the corpus"
        )
    enough = exact_scores[:, :k] >= kth_scores[:, None].astype(np.float64) - tolerance
    credited = [
        {id_ for id_, good in zip(row, goods, strict=True) if good and _is_answer(id_)}
        for row, goods in zip(found, enough.tolist(), strict=True)
    ]
    return _per_query(len(ids) / k for ids in credited)


def overlap(a_ids: Ids, b_ids: Ids, k: int) -> Float64[np.ndarray, " q"]:
    """How much two rankings share: |A ∩ B| / max(|A|, |B|) over their first `k`. Symmetric.

    The divisor is `k` where either ranking is full. Two empty rankings are refused.
    """
    a, b = _first_k_sets(a_ids, b_ids, k, ("a_ids", "b_ids"))
    for row, (one, other) in enumerate(zip(a, b, strict=True)):
        if not one and not other:
            raise InputError(f"a_ids[{row}] and b_ids[{row}] name no answer; nothing to compare")
    return _per_query(
        len(one & other) / max(len(one), len(other)) for one, other in zip(a, b, strict=True)
    )


def relevance_recall_at_k(
    ranked_ids: Ids, query_ids: Sequence[Id], qrels: Qrels, k: int
) -> Float64[np.ndarray, " q"]:
    """Relevant documents among the first `k`, divided by min(k, |R|), R = all relevant documents.

    Dividing by |R| alone would cap the value below 1 for queries with more than `k` of them.
    """
    relevant = _relevant(query_ids, qrels)
    hits = (_grades(ranked_ids, relevant, k) > 0).sum(axis=1)
    return _per_query(hit / min(k, len(r)) for hit, r in zip(hits, relevant, strict=True))


def ndcg_at_k(
    ranked_ids: Ids, query_ids: Sequence[Id], qrels: Qrels, k: int
) -> Float64[np.ndarray, " q"]:
    """Normalised discounted cumulative gain as trec_eval has it: DCG@k / ideal DCG@k.

    DCG@k = Σ grade_i / log2(1 + i) over places i = 1..k: the gain is the grade itself, not
    2^grade − 1 (Järvelin & Kekäläinen, 2002). The ideal takes the grades of *all* judged documents
    of the query in descending order, cut at `k`. Grades at or below 0 gain nothing.
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
    """1 / the place of the first relevant document, 0 when none is among the first `k`.

    The mean over queries is the mean reciprocal rank.
    """
    is_relevant = _grades(ranked_ids, _relevant(query_ids, qrels), k) > 0
    first = is_relevant.argmax(axis=1)
    return np.asarray(is_relevant.any(axis=1) / (1.0 + first))


def _dcg(gains: Float64[np.ndarray, "q k"]) -> Float64[np.ndarray, " q"]:
    discounts = 1 / np.log2(np.arange(2, gains.shape[1] + 2))
    return np.asarray((gains * discounts).sum(axis=1))


def _per_query(values: Iterable[float]) -> Float64[np.ndarray, " q"]:
    return np.fromiter(values, dtype=np.float64)


def _is_answer(id_: Any) -> bool:
    return id_ is not None and id_ != -1


def _first_k(ids: Ids, k: int, name: str) -> list[list[Any]]:
    """The first `k` ids of each row as Python values, after the checks every measure shares."""
    if isinstance(k, bool) or k < 1:
        raise InputError(f"k={k} is not a number of answers; use k >= 1")
    if ids.ndim != 2 or ids.dtype.kind not in "iuUO":
        raise IdsError(
            f"{name} have shape {ids.shape} and dtype {ids.dtype}; "
            "give a 2-D array [queries, answers] of integers or strings"
        )
    if ids.shape[1] < k:
        raise InputError(
            f"{name} have {ids.shape[1]} columns, fewer than k={k}; search with k >= {k} "
            "(-1 stands for an answer that does not exist) or measure at a smaller k"
        )
    rows: list[list[Any]] = ids[:, :k].tolist()
    return rows


def _first_k_sets(
    a: Ids, b: Ids, k: int, names: tuple[str, str]
) -> tuple[list[set[Any]], list[set[Any]]]:
    """The answers among the first `k` of two rankings of the same queries."""
    one = [set(filter(_is_answer, row)) for row in _first_k(a, k, names[0])]
    other = [set(filter(_is_answer, row)) for row in _first_k(b, k, names[1])]
    if len(one) != len(other):
        raise InputError(
            f"{names[0]} have {len(one)} rows and {names[1]} have {len(other)}; "
            "give one row per query, in the same order"
        )
    _check_same_kind(one, other, names)
    return one, other


def _relevant(query_ids: Sequence[Id], qrels: Qrels) -> list[dict[Id, float]]:
    """Each query's relevant documents and their grades; a query without any is refused."""
    relevant = []
    for query in query_ids:
        judged = qrels.get(query, {})
        for doc, grade in judged.items():
            if not math.isfinite(grade):
                raise InputError(f"qrels[{query!r}][{doc!r}] is {grade}; grades must be finite")
        relevant.append({doc: float(grade) for doc, grade in judged.items() if grade > 0})
        if not relevant[-1]:
            raise InputError(
                f"query {query!r} has no relevant document in the judgements, so its value is "
                "not 0 but undefined; leave the query out"
            )
    return relevant


def _grades(ranked_ids: Ids, relevant: list[dict[Id, float]], k: int) -> Float64[np.ndarray, "q k"]:
    """The grade at each of the first `k` places; 0 for no answer, repeats and the unjudged."""
    rows = _first_k(ranked_ids, k, "ranked_ids")
    if len(rows) != len(relevant):
        raise InputError(
            f"ranked_ids have {len(rows)} rows but query_ids name {len(relevant)} queries; "
            "give one row per query, in the same order"
        )
    answers = [[id_ for id_ in row if _is_answer(id_)] for row in rows]
    _check_same_kind(answers, relevant, ("ranked_ids", "the judged documents"))
    grades = np.zeros((len(rows), k))
    for row, (ids, found, good) in enumerate(zip(rows, answers, relevant, strict=True)):
        for id_ in good.keys() & set(found):
            # A repeated document counts only at its first place.
            grades[row, ids.index(id_)] = good[id_]
    return grades


def _check_same_kind(a: Sequence[Any], b: Sequence[Any], names: tuple[str, str]) -> None:
    """Refuse strings on one side and integers on the other: every value would be a silent 0."""
    types = [set[type]().union(*(map(type, row) for row in side)) for side in (a, b)]
    kinds = [{issubclass(one, str) for one in of_side} for of_side in types]
    if all(kinds) and kinds[0].isdisjoint(kinds[1]):
        words = ["strings" if True in kind else "integers" for kind in kinds]
        raise IdsError(
            f"{names[0]} are {words[0]} but {names[1]} are {words[1]}, so none could match; "
            "use the same ids on both sides"
        )
