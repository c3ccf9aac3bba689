"""How good are prefixes for held-out queries: one value per query and size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nestvec.adapt.training_data import Judged, Material
from nestvec.metrics import ndcg_at_k, overlap
from nestvec.shapes import Float32, Float64, Int64
from nestvec.transforms.base import Adapter
from nestvec.vectors import normalize

K = 10
PerQuery = Float64[np.ndarray, " q"]
Truth = Int64[np.ndarray, "q k"] | Judged
_BLOCK_QUERIES = 256


def nearest(
    queries: Float32[np.ndarray, "q dim"],
    documents: Float32[np.ndarray, "n dim"],
    own: Int64[np.ndarray, " q"],
    k: int = K,
) -> Int64[np.ndarray, "q k"]:
    """The `k` best documents by inner product, best first; a query's own document is none of them.

    Equal scores go to the smaller row. −1 where there are fewer documents.
    """
    found = np.full((len(queries), k), -1, np.int64)
    for first in range(0, len(queries), _BLOCK_QUERIES):
        block = slice(first, first + _BLOCK_QUERIES)
        scores = queries[block] @ documents.T
        mine = np.flatnonzero(own[block] >= 0)
        scores[mine, own[block][mine]] = -np.inf
        found[block] = _best(scores, k)
    return found


def _best(scores: Float32[np.ndarray, "q n"], k: int) -> Int64[np.ndarray, "q k"]:
    best = np.full((len(scores), k), -1, np.int64)
    depth = min(k, scores.shape[1])
    if not depth:
        return best
    least = np.partition(scores, -depth, axis=1)[:, -depth]
    for found, row, reach in zip(best, scores, least, strict=True):
        # All that tie for the last place, so that the smaller rows among them are taken.
        rows = np.flatnonzero((row >= reach) & np.isfinite(row))
        kept = rows[np.argsort(-row[rows], kind="stable")[:k]]
        found[: len(kept)] = kept
    return best


def quality(ranked: Int64[np.ndarray, "q k"], truth: Truth) -> PerQuery:
    """nDCG@10 where the truth is judged, else the share of the true ten that is found."""
    if not isinstance(truth, Judged):
        return overlap(ranked, truth, K)
    qrels: dict[int | str, dict[int | str, float]] = {}
    for query, document, grade in zip(*(part.tolist() for part in truth), strict=True):
        qrels.setdefault(query, {})[document] = grade
    return ndcg_at_k(ranked, range(len(ranked)), qrels, K)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Queries that nothing was fitted to, and what they are to find."""

    material: Material
    truth: Truth

    @classmethod
    def of(cls, material: Material) -> "HeldOut":
        """To be found are the judged documents, or else the nearest ten at full width."""
        if material.judged is not None:
            return cls(material, material.judged)
        return cls(material, nearest(material.queries, material.documents, material.own))

    @property
    def metric(self) -> str:
        """What `measure` gives."""
        return f"{'overlap' if self.material.judged is None else 'ndcg'}@{K}"

    def measure(self, adapter: Adapter, dims: Sequence[int]) -> dict[int, PerQuery]:
        """The quality of cosine ranking by each prefix of what the adapter gives."""
        queries = adapter.transform_queries(self.material.queries)
        documents = adapter.transform(self.material.documents)
        return {size: self.grade(queries[:, :size], documents[:, :size]) for size in dims}

    def grade(
        self, queries: Float32[np.ndarray, "q dims"], documents: Float32[np.ndarray, "n dims"]
    ) -> PerQuery:
        """The quality of cosine ranking by these; a prefix of a unit vector is not one itself."""
        found = nearest(normalize(queries), normalize(documents), self.material.own)
        return quality(found, self.truth)

    def over_sizes(self, adapter: Adapter, dims: Sequence[int]) -> PerQuery:
        """The mean quality over all sizes: what early stopping goes by."""
        return np.asarray(np.mean(list(self.measure(adapter, dims).values()), axis=0))
