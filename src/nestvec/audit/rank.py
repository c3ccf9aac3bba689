"""The exact ranking of all documents for each query, whatever the variant."""

from typing import NamedTuple

import numpy as np

from nestvec.audit.model import Encoded, Ranking
from nestvec.errors import InputError
from nestvec.progress import Advance
from nestvec.shapes import Float32, Int64

_SCORES = 2**25
"""Held at a time: 128 MiB, and as much again while the best are told apart."""
_GATHERED = 2**24
"""Floats of documents gathered at a time: 64 MiB."""


class Ranked(NamedTuple):
    """A ranking, and how deep in it the wanted documents lie."""

    ranking: Ranking
    depths: Int64[np.ndarray, " q"]
    """How many documents score at least as well as the worst of those wanted: a shortlist of this
    length holds them all, however ties fall."""


def rank(
    encoded: Encoded,
    k: int,
    own: Int64[np.ndarray, " q"],
    wanted: Int64[np.ndarray, "q m"] | None = None,
    advance: Advance = lambda _: None,
) -> Ranked:
    """The `k` best documents per query by inner product; equal scores go to the smaller row.

    The document `own[i]` (−1: none) is never an answer to query i. `wanted` are documents whose
    depth is asked for (None: the `k` found, whose depth is `k` but for ties). `advance` is called
    with the number of queries just done.
    """
    n = len(encoded.documents)
    if not 1 <= k <= n - bool((own >= 0).any()):
        raise InputError(f"k={k} answers cannot be had from {n} documents; give more documents")
    block = max(1, _SCORES // n)
    parts = []
    for first in range(0, len(encoded.queries), block):
        some = slice(first, first + block)
        scores = encoded.queries[some] @ encoded.documents.T
        _exclude(scores, own[some])
        best = _best(scores, k)
        parts.append((*best, _depths(scores, best[0] if wanted is None else wanted[some])))
        advance(len(scores))
    rows, best_scores, depths = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Ranked(Ranking(rows, best_scores), depths)


def rescore(full: Encoded, ranking: Ranking, count: int) -> Ranking:
    """The first `count` answers ordered anew by full vectors; those behind them stay behind."""
    first = ranking.rows[:, :count]
    scores = scores_of(full, first)
    order = np.lexsort((first, -scores), axis=1)
    rows, rescored = ranking.rows.copy(), np.full_like(ranking.scores, -np.inf)
    rows[:, :count] = np.take_along_axis(first, order, axis=1)
    rescored[:, :count] = np.take_along_axis(scores, order, axis=1)
    return Ranking(rows, rescored)


def cut(ranking: Ranking, k: int) -> Ranking:
    """The first `k` answers."""
    return Ranking(ranking.rows[:, :k], ranking.scores[:, :k])


def scores_of(encoded: Encoded, rows: Int64[np.ndarray, "q m"]) -> Float32[np.ndarray, "q m"]:
    """The scores of given documents, `m` per query."""
    scores = np.empty(rows.shape, np.float32)
    block = max(1, _GATHERED // max(1, rows.shape[1] * encoded.documents.shape[1]))
    for first in range(0, len(rows), block):
        some = slice(first, first + block)
        gathered = encoded.documents[rows[some]]
        scores[some] = (gathered @ encoded.queries[some, :, None])[..., 0]
    return scores


def _exclude(scores: Float32[np.ndarray, "q n"], own: Int64[np.ndarray, " q"]) -> None:
    has_own = np.flatnonzero(own >= 0)
    scores[has_own, own[has_own]] = -np.inf


def _best(
    scores: Float32[np.ndarray, "q n"], k: int
) -> tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"]]:
    n = scores.shape[1]
    kth = np.partition(scores, n - k, axis=1)[:, n - k]
    # All that reach the k-th score, not k of them: which of equals come first is for rows to say.
    queries, rows = np.nonzero(scores >= kth[:, None])
    reached = scores[queries, rows]
    order = np.lexsort((rows, -reached, queries))
    starts = np.searchsorted(queries, np.arange(len(scores)))
    best = order[starts[:, None] + np.arange(k)]
    return rows[best], reached[best]


def _depths(
    scores: Float32[np.ndarray, "q n"], wanted: Int64[np.ndarray, "q m"]
) -> Int64[np.ndarray, " q"]:
    worst = np.take_along_axis(scores, wanted, axis=1).min(axis=1)
    return np.asarray((scores >= worst[:, None]).sum(axis=1), np.int64)
