"""The exact ranking of all documents for each query, whatever the variant."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nestvec.auditing.ranking.score_blocks import Scores, best_of, count_reaching, score_blocks
from nestvec.auditing.types import Encoded, Ranking
from nestvec.errors import InputError
from nestvec.progress import Advance
from nestvec.shapes import Float32, Int64

_GATHERED = 2**24
"""Floats of documents gathered at a time: 64 MiB."""


Take = Callable[[Int64[np.ndarray, " block"], Scores], None]
"""Called with the rows of some queries and their scores, which it may overwrite."""


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
    take: Take = lambda _, __: None,
) -> Ranked:
    """The `k` best documents per query by inner product; equal scores go to the smaller row.

    The document `own[i]` (−1: none) is never an answer to query i. `wanted` are documents whose
    depth is asked for (None: the `k` found, whose depth is `k` but for ties). `advance` is called
    with the number of queries just done, and `take` with each block of scores once it is ranked:
    they are computed but once.
    """
    n = len(encoded.documents)
    if not 1 <= k <= n - bool((own >= 0).any()):
        raise InputError(f"k={k} answers cannot be had from {n} documents; give more documents")
    parts = []
    for queries, scores in score_blocks(encoded, own):
        rows, best = best_of(scores, k)
        of_block = rows if wanted is None else wanted[queries]
        worst = np.take_along_axis(scores, of_block, axis=1).min(axis=1)
        parts.append((rows, best, count_reaching(scores, np.arange(len(queries)), worst)))
        take(queries, scores)
        advance(len(queries))
    rows, scores, depths = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Ranked(Ranking(rows, scores), depths)


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
