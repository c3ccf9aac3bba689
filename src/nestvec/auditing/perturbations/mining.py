"""Hard negatives mined from rankings: what ranks high though it is not judged relevant.

**Who mines decides who wins.** A document that is taken as a negative because the full vectors
score it below the positive is told apart by the full vectors by construction; any other vectors,
even equally good ones, can only do worse. So negatives of a variant come from the union of what the
full vectors and that variant rank high (the default), which treats both alike; or from someone who
is not under audit: another encoder, or BM25. Other variants have no say: a crowd of them that
resembles the full vectors would bring the bias back, and figures of one variant would depend on
which others were asked. Unjudged is not the same as wrong: some of what is mined answers the
query. That blurs both sides alike, and only another encoder may filter it (`ceiling`), for the
same reason.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from nestvec.auditing.measures.margins import pair_scores
from nestvec.auditing.ranking.full_ranking import rank
from nestvec.auditing.types import Encoded, Judged, Triplets
from nestvec.errors import InputError
from nestvec.extras import require
from nestvec.shapes import Int64

MINED = "mined"
DEEP = 10
"""Wrong answers that are taken from each ranking of a query."""


def mine_from_union(
    rankings: Sequence[Int64[np.ndarray, "q depth"]],
    judged: Judged,
    own: Int64[np.ndarray, " q"],
    n: int,
    k: int = DEEP,
) -> Triplets | None:
    """The first `k` wrong answers of each ranking of `n` documents: the full vectors' and another.

    One positive per query, the one judged best (of equals the smaller row), so that queries are
    independent. Neither a judged document nor the query's own row `own[i]` (−1: none) is a
    negative. By rising query and negative; of kind "mined". Fewer where rankings are not deep
    enough for `k` behind all right answers; None if there is none at all.
    """
    queries = np.unique(judged.queries)
    pools = [_first_wrong(rows[queries], queries, judged, own, n, k) for rows in rankings]
    pairs = np.unique(np.concatenate(pools))
    return _triplets(pairs, judged, n) if len(pairs) else None


def mine_from_other(
    other: Encoded,
    judged: Judged,
    own: Int64[np.ndarray, " q"],
    k: int = DEEP,
    ceiling: float | None = None,
) -> Triplets:
    """The first `k` wrong answers by vectors that are not under audit, else as `mine_from_union`.

    `ceiling` leaves out those that score above this share of the positive, likely answers that
    nobody judged: 0.95 is TopK-PercPos of NV-Retriever (2407.15831). Fewer than `k` then remain.
    """
    queries = np.unique(judged.queries)
    n = len(other.documents)
    found = _ranked(other, queries, judged, own, k)
    triplets = _triplets(_first_wrong(found, queries, judged, own, n, k), judged, n)
    if ceiling is None:
        return triplets
    positive = pair_scores(other, triplets.queries, triplets.positives)
    # Not `ceiling * positive`: a share of a score below 0 would lie above it.
    limit = positive - (1 - ceiling) * np.abs(positive)
    kept = pair_scores(other, triplets.queries, triplets.negatives) <= limit
    return _triplets((triplets.queries * n + triplets.negatives)[kept], judged, n)


def mine_from_words(
    query_texts: Sequence[str],
    document_texts: Sequence[str],
    judged: Judged,
    own: Int64[np.ndarray, " q"],
    k: int = DEEP,
) -> Triplets:
    """The first `k` wrong answers by BM25 (the package bm25s), else as `mine_from_union`.

    Only documents that share a word with the query; words are lower-cased runs of at least two word
    characters, no stop words and no stemming, so that any spaced language will do.
    """
    bm25s = require("bm25s", "audit")
    queries, n = np.unique(judged.queries), len(document_texts)
    index = bm25s.BM25()
    index.index(_tokens(bm25s, document_texts), show_progress=False)
    asked = _tokens(bm25s, [query_texts[row] for row in queries])
    depth = _depth(judged, own, n, k)
    rows, scores = index.retrieve(asked, k=depth, show_progress=False)
    found = np.where(np.asarray(scores) > 0, np.asarray(rows, dtype=np.int64), -1)
    return _triplets(_first_wrong(found, queries, judged, own, n, k), judged, n)


def _tokens(bm25s: ModuleType, texts: Sequence[str]) -> Any:
    return bm25s.tokenize(list(texts), stopwords=[], return_ids=False, show_progress=False)


def _depth(judged: Judged, own: Int64[np.ndarray, " q"], n: int, k: int) -> int:
    """So deep that `k` wrong answers remain of a ranking in which all right ones come first."""
    has_own = bool((own >= 0).any())
    return min(k + int(np.bincount(judged.queries).max()) + has_own, n - has_own)


def _ranked(
    encoded: Encoded,
    queries: Int64[np.ndarray, " judged"],
    judged: Judged,
    own: Int64[np.ndarray, " q"],
    k: int,
) -> Int64[np.ndarray, "judged depth"]:
    asked = Encoded(encoded.queries[queries], encoded.documents)
    depth = _depth(judged, own, len(encoded.documents), k)
    return rank(asked, depth, own[queries]).ranking.rows


def _first_wrong(
    found: Int64[np.ndarray, "judged depth"],
    queries: Int64[np.ndarray, " judged"],
    judged: Judged,
    own: Int64[np.ndarray, " q"],
    n: int,
    k: int,
) -> Int64[np.ndarray, " pairs"]:
    """query · n + document of the first `k` answers that are neither judged nor its own row."""
    pairs = queries[:, None] * n + found
    is_wrong = (found >= 0) & (found != own[queries][:, None])
    is_wrong &= ~np.isin(pairs, judged.queries * n + judged.documents)
    return np.asarray(pairs[is_wrong & (is_wrong.cumsum(axis=1) <= k)])


def _triplets(pairs: Int64[np.ndarray, " pairs"], judged: Judged, n: int) -> Triplets:
    """Each pair of a query and a negative with the positive of that query."""
    if not len(pairs):
        raise InputError(
            f"none of the {n} documents is a wrong answer to a judged query; "
            "give a corpus with more than the relevant documents"
        )
    queries, positives = best_judged(judged)
    asked = pairs // n
    positive = positives[np.searchsorted(queries, asked)]
    return Triplets(asked, positive, pairs % n, (MINED,) * len(pairs))


def best_judged(
    judged: Judged,
) -> tuple[Int64[np.ndarray, " judged"], Int64[np.ndarray, " judged"]]:
    """Every judged query once, rising, and its best document."""
    order = np.lexsort((judged.documents, -judged.grades, judged.queries))
    queries, first = np.unique(judged.queries[order], return_index=True)
    return queries, judged.documents[order][first]
