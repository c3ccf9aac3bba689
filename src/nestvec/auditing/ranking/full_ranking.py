"""Exact ranking of all documents for each query, whatever the variant."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nestvec.auditing.types import EmbeddingPair, Ranking
from nestvec.errors import InputError
from nestvec.exact_top_k import Scores, count_reaching, score_blocks, top_k_of_scores
from nestvec.progress import Advance
from nestvec.shapes import Float32, Int64

_GATHERED = 2**24
"""Numbers of documents that are gathered at a time: 64 MiB."""

ScoreListener = Callable[[Int64[np.ndarray, " block"], Scores], None]
"""Called with the rows of some queries and their scores, which it may overwrite."""


class RankingWithDepths(NamedTuple):
    """A ranking, with the depth at which it contains each query's target documents."""

    ranking: Ranking
    depths: Int64[np.ndarray, " q"]
    """Number of documents that score at least as well as the worst target: a shortlist of this
    length contains all targets, however ties are broken."""


def rank_all(
    embeddings: EmbeddingPair,
    k: int,
    self_match: Int64[np.ndarray, " q"],
    targets: Int64[np.ndarray, "q m"] | None = None,
    advance: Advance = lambda _: None,
    on_scores: ScoreListener = lambda _, __: None,
) -> RankingWithDepths:
    """Rank the `k` best documents per query by inner product; equal scores go to the smaller row.

    The row `self_match[i]` (−1: none) is never a hit of query i. `targets` are the documents whose
    depth is measured; None: the ranked ones, whose depth is `k` but for ties. `advance` is called
    with the number of queries just ranked, and `on_scores` with each block of scores after it has
    been ranked, because scores are computed only once. `InputError` for too few documents.
    """
    n = len(embeddings.documents)
    if not 1 <= k <= n - bool((self_match >= 0).any()):
        raise InputError(f"k={k} answers cannot be had from {n} documents; pass more documents")
    parts = []
    for queries, scores in score_blocks(embeddings.queries, embeddings.documents, self_match):
        rows, best = top_k_of_scores(scores, k)
        block_targets = rows if targets is None else targets[queries]
        worst = np.take_along_axis(scores, block_targets, axis=1).min(axis=1)
        parts.append((rows, best, count_reaching(scores, np.arange(len(queries)), worst)))
        on_scores(queries, scores)
        advance(len(queries))
    rows, scores, depths = (np.concatenate(part) for part in zip(*parts, strict=True))
    return RankingWithDepths(Ranking(rows, scores), depths)


def rerank(full: EmbeddingPair, ranking: Ranking, count: int) -> Ranking:
    """Order the first `count` documents anew by full vectors; the others stay behind them."""
    shortlist = ranking.rows[:, :count]
    full_scores = scores_of(full, shortlist)
    order = np.lexsort((shortlist, -full_scores), axis=1)
    rows, scores = ranking.rows.copy(), np.full_like(ranking.scores, -np.inf)
    rows[:, :count] = np.take_along_axis(shortlist, order, axis=1)
    scores[:, :count] = np.take_along_axis(full_scores, order, axis=1)
    return Ranking(rows, scores)


def first_k(ranking: Ranking, k: int) -> Ranking:
    """Keep the first `k` documents of each query."""
    return Ranking(ranking.rows[:, :k], ranking.scores[:, :k])


def scores_of(
    embeddings: EmbeddingPair, rows: Int64[np.ndarray, "q m"]
) -> Float32[np.ndarray, "q m"]:
    """Score documents by their rows, `m` per query."""
    scores = np.empty(rows.shape, np.float32)
    block_rows = max(1, _GATHERED // max(1, rows.shape[1] * embeddings.documents.shape[1]))
    for first_row in range(0, len(rows), block_rows):
        block = slice(first_row, first_row + block_rows)
        gathered = embeddings.documents[rows[block]]
        scores[block] = (gathered @ embeddings.queries[block, :, None])[..., 0]
    return scores
