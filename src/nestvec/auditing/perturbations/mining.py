"""Mining of hard negatives: documents that rank high though they are not judged relevant.

**The source of the negatives decides who wins.** If the full vectors choose the negatives, as
documents that they score below the positive, they separate these by construction; any other
vectors, even equally good ones, can only do worse. So the hard negatives of a variant come from the
union of the documents that the full vectors and that variant rank high (the default), which treats
both alike; or from a source that is not under audit: another encoder, or BM25. Other variants are
not mined: many of them that resemble the full vectors would bring the bias back, and the figures of
one variant would depend on the others in the audit. A document without a judgment is not
necessarily wrong: some mined documents answer the query. That blurs both sides alike, and only
another encoder may filter them (`ceiling`), for the same reason.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from nestvec.auditing.measures.margins import pair_scores
from nestvec.auditing.types import EmbeddingPair, RelevanceJudgments, Triplets
from nestvec.errors import InputError
from nestvec.exact_top_k import NONE, exact_top_k
from nestvec.extras import require
from nestvec.shapes import Int64

MINED = "mined"
DEEP = 10
"""Wrong documents that are taken from each ranking of a query."""


def mine_from_union(
    rankings: Sequence[Int64[np.ndarray, "q depth"]],
    judgments: RelevanceJudgments,
    self_match: Int64[np.ndarray, " q"],
    n: int,
    k: int = DEEP,
) -> Triplets | None:
    """Take the first `k` wrong documents of each ranking of `n` documents.

    Each query has one positive, that of the highest grade (of equals the smaller row), so that
    queries are independent. Neither relevant documents nor the self-match (−1: none) are negatives.
    Triplets are ordered by query and negative, and of kind "mined". There are fewer where rankings
    are not deep enough for `k` behind all relevant documents, and None if there are none.
    """
    queries = np.unique(judgments.queries)
    pools = [_first_wrong(rows[queries], queries, judgments, self_match, n, k) for rows in rankings]
    pairs = np.unique(np.concatenate(pools))
    return _triplets(pairs, judgments, n) if len(pairs) else None


def mine_from_external(
    external: EmbeddingPair,
    judgments: RelevanceJudgments,
    self_match: Int64[np.ndarray, " q"],
    k: int = DEEP,
    ceiling: float | None = None,
) -> Triplets:
    """Take the first `k` wrong documents by embeddings that are not under audit.

    Otherwise as `mine_from_union`. `ceiling` leaves out documents that score above this share of
    the positive's score and so may well be relevant, although nobody judged them: 0.95 is
    TopK-PercPos of NV-Retriever (arXiv 2407.15831). Fewer than `k` then remain.
    """
    queries = np.unique(judgments.queries)
    n = len(external.documents)
    ranking = _rank_external(external, queries, judgments, self_match, k)
    pairs = _first_wrong(ranking, queries, judgments, self_match, n, k)
    triplets = _triplets(pairs, judgments, n)
    if ceiling is None:
        return triplets
    positive = pair_scores(external, triplets.queries, triplets.positives)
    # Not `ceiling * positive`: a share of a score below 0 would lie above it.
    limit = positive - (1 - ceiling) * np.abs(positive)
    is_below = pair_scores(external, triplets.queries, triplets.negatives) <= limit
    return _triplets((triplets.queries * n + triplets.negatives)[is_below], judgments, n)


def mine_from_bm25(
    query_texts: Sequence[str],
    document_texts: Sequence[str],
    judgments: RelevanceJudgments,
    self_match: Int64[np.ndarray, " q"],
    k: int = DEEP,
) -> Triplets:
    """Take the first `k` wrong documents by BM25 (the package bm25s).

    Otherwise as `mine_from_union`. Only documents that share a word with the query; words are
    lower-cased runs of at least two word characters, without stop words and stemming, so that any
    spaced language will do.
    """
    bm25s = require("bm25s", "audit")
    queries, n = np.unique(judgments.queries), len(document_texts)
    index = bm25s.BM25()
    index.index(_tokens(bm25s, document_texts), show_progress=False)
    query_tokens = _tokens(bm25s, [query_texts[row] for row in queries])
    depth = _depth(judgments, self_match, n, k)
    rows, scores = index.retrieve(query_tokens, k=depth, show_progress=False)
    ranking = np.where(np.asarray(scores) > 0, np.asarray(rows, dtype=np.int64), NONE)
    pairs = _first_wrong(ranking, queries, judgments, self_match, n, k)
    return _triplets(pairs, judgments, n)


def _tokens(bm25s: ModuleType, texts: Sequence[str]) -> Any:
    return bm25s.tokenize(list(texts), stopwords=[], return_ids=False, show_progress=False)


def _depth(
    judgments: RelevanceJudgments, self_match: Int64[np.ndarray, " q"], n: int, k: int
) -> int:
    """Depth at which `k` wrong documents remain even if all relevant ones come first."""
    has_self_match = bool((self_match >= 0).any())
    return min(k + int(np.bincount(judgments.queries).max()) + has_self_match, n - has_self_match)


def _rank_external(
    external: EmbeddingPair,
    queries: Int64[np.ndarray, " judged"],
    judgments: RelevanceJudgments,
    self_match: Int64[np.ndarray, " q"],
    k: int,
) -> Int64[np.ndarray, "judged depth"]:
    depth = _depth(judgments, self_match, len(external.documents), k)
    query_vectors = external.queries[queries]
    return exact_top_k(query_vectors, external.documents, depth, self_match[queries])[0]


def _first_wrong(
    ranking: Int64[np.ndarray, "judged depth"],
    queries: Int64[np.ndarray, " judged"],
    judgments: RelevanceJudgments,
    self_match: Int64[np.ndarray, " q"],
    n: int,
    k: int,
) -> Int64[np.ndarray, " pairs"]:
    """Return query · n + document of the first `k` neither relevant nor the self-match."""
    pairs = queries[:, None] * n + ranking
    is_wrong = (ranking >= 0) & (ranking != self_match[queries][:, None])
    is_wrong &= ~np.isin(pairs, judgments.queries * n + judgments.documents)
    return np.asarray(pairs[is_wrong & (is_wrong.cumsum(axis=1) <= k)])


def _triplets(
    pairs: Int64[np.ndarray, " pairs"], judgments: RelevanceJudgments, n: int
) -> Triplets:
    """Complete each pair of a query and a negative with the positive of that query."""
    if not len(pairs):
        raise InputError(
            f"none of the {n} documents is a wrong answer to a judged query; "
            "pass a corpus with more than the relevant documents"
        )
    query_rows, positives = most_relevant(judgments)
    queries = pairs // n
    positive = positives[np.searchsorted(query_rows, queries)]
    return Triplets(queries, positive, pairs % n, (MINED,) * len(pairs))


def most_relevant(
    judgments: RelevanceJudgments,
) -> tuple[Int64[np.ndarray, " judged"], Int64[np.ndarray, " judged"]]:
    """List the queries with judgments, rising, and the document of the highest grade of each."""
    order = np.lexsort((judgments.documents, -judgments.grades, judgments.queries))
    queries, first_places = np.unique(judgments.queries[order], return_index=True)
    return queries, judgments.documents[order][first_places]
