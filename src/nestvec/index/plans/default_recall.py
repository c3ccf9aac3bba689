"""Recall of the default plan, measured on rows of the index when all of them have been coded.

The rule behind the default plan was fitted to embeddings of texts and images. On vectors without
structure its recall is much lower, and only a measurement shows it.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nestvec.index.plans.default_plan import default_plan
from nestvec.index.search.searcher import SearchRequest, search_segments
from nestvec.index.snapshot import Snapshot
from nestvec.index.storage.manifest import Manifest
from nestvec.metrics import recall_with_ties
from nestvec.plan import Plan
from nestvec.shapes import Float32, Int64
from nestvec.vectors import normalize

LOW_RECALL = 0.9
"""A default plan below it is worth a warning."""
_MIN_ROWS = 1000
"""Fewer rows are nearly all read by the default plan."""
_SAMPLE = 100
_K = 10
_BLOCK_ROWS = 8192
"""Rows scored at a time: 50 MiB of a copy at 1,536 dims."""
_TOLERANCE = 1e-6
"""Scores within this share of the largest are equal: two ways of summing float32 differ so much."""
_KEY = "default_recall"

_log = logging.getLogger("nestvec.index")


@dataclass(frozen=True, slots=True)
class DefaultRecall:
    """Mean recall@10 of the default plan on sampled rows, with its 95 % interval.

    Each sampled row is a query, and its self-match does not count. Queries that are no rows often
    have a lower recall, so this is for orientation; `nestvec.tune` gives a guarantee.
    """

    value: float
    low: float
    high: float
    n: int
    k: int
    plan: Plan

    def __str__(self) -> str:
        return (
            f"{self.value:.2f} of the true top {self.k} ({self.low:.2f} to {self.high:.2f}, "
            f"n={self.n} sampled rows)"
        )


def measure_default_recall(snapshot: Snapshot) -> DefaultRecall | None:
    """Measure the default plan for 10 hits; None for an index of fewer than 1,000 rows."""
    if snapshot.count < _MIN_ROWS or snapshot.largest is None:
        return None
    from nestvec.statistics import bootstrap_mean

    numbers, vectors = snapshot.numbers(), snapshot.vectors()
    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(len(numbers), _SAMPLE, replace=False))
    queries, plan = np.ascontiguousarray(vectors[sample]), default_plan(snapshot.largest, _K)
    request = SearchRequest(queries, _K + 1, plan, None, snapshot.metric)
    hits = search_segments(snapshot, request).rows
    order = np.argsort(hits == numbers[sample][:, None], axis=1, kind="stable")[:, :_K]
    places = np.searchsorted(numbers, np.take_along_axis(hits, order, axis=1))
    kth = _kth_scores(queries, vectors, sample, snapshot.metric)
    scores = np.stack(
        [
            _scores(query[None], vectors[of_query], snapshot.metric)[0]
            for query, of_query in zip(queries, places, strict=True)
        ]
    )
    recalls = recall_with_ties(places, scores, kth, _K, _TOLERANCE * float(np.abs(kth).max()))
    value, low, high, n = bootstrap_mean(recalls, rng)
    return DefaultRecall(float(value), float(low), float(high), n, _K, plan)


def with_default_recall(snapshot: Snapshot) -> Manifest:
    """Measure the default plan of a generation before its commit, and store it in the manifest."""
    recall, manifest = measure_default_recall(snapshot), snapshot.manifest
    meta = {name: value for name, value in manifest.meta.items() if name != _KEY}
    if recall is not None:
        if recall.value < LOW_RECALL:
            _log.warning(
                "the default plan of this index finds %s; tune a plan, or search with exact=True",
                recall,
            )
        rows = manifest.rows_checksum()
        meta[_KEY] = {**asdict(recall), "plan": str(recall.plan), "rows": rows}
    return Manifest(meta, manifest.entries)


def stored_default_recall(manifest: Manifest) -> DefaultRecall | None:
    """Read the recall of the default plan; None where it was not measured on the current rows."""
    entry: Mapping[str, Any] | None = manifest.meta.get(_KEY)
    if entry is None or entry["rows"] != manifest.rows_checksum():
        return None
    value, low, high = (float(entry[name]) for name in ("value", "low", "high"))
    return DefaultRecall(value, low, high, entry["n"], entry["k"], Plan.parse(entry["plan"]))


def _kth_scores(
    queries: Float32[np.ndarray, "q dim"],
    vectors: Float32[np.ndarray, "n dim"],
    self_match: Int64[np.ndarray, " q"],
    metric: str,
) -> Float32[np.ndarray, " q"]:
    """Compute the exact k-th best score of each query, without its self-match, in one pass."""
    best = np.full((len(queries), _K), -np.inf, np.float32)
    for first_row in range(0, len(vectors), _BLOCK_ROWS):
        scores = _scores(queries, vectors[first_row : first_row + _BLOCK_ROWS], metric)
        mine = np.flatnonzero((self_match >= first_row) & (self_match < first_row + len(scores[0])))
        scores[mine, self_match[mine] - first_row] = -np.inf
        candidates = np.concatenate([best, scores], axis=1)
        best = np.partition(candidates, -_K, axis=1)[:, -_K:]
    return np.asarray(best.min(axis=1))


def _scores(
    queries: Float32[np.ndarray, "q dim"], vectors: Float32[np.ndarray, "n dim"], metric: str
) -> Float32[np.ndarray, "q n"]:
    """Score rows so that the best rows of a query in this metric have the largest scores."""
    if metric == "cosine":
        return np.asarray(queries @ normalize(vectors).T)
    scores = queries @ vectors.T
    if metric == "euclidean":
        scores -= np.einsum("nd,nd->n", vectors, vectors) / 2
    return np.asarray(scores)
