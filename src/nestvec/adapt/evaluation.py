"""Scores of prefixes for held-out queries: one value per query and dims."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nestvec.adapt.training_data import Judgments, TrainingData
from nestvec.exact_top_k import exact_top_k
from nestvec.metrics import ndcg_at_k, overlap
from nestvec.shapes import Float32, Float64, Int64
from nestvec.transforms.base import Transform
from nestvec.vectors import normalize

K = 10
PerQuery = Float64[np.ndarray, " q"]
Targets = Int64[np.ndarray, "q k"] | Judgments


def ranking_quality(ranked: Int64[np.ndarray, "q k"], targets: Targets) -> PerQuery:
    """Score rankings: nDCG@10 against judgments, else the overlap with the target rows."""
    if not isinstance(targets, Judgments):
        return overlap(ranked, targets, K)
    qrels: dict[int | str, dict[int | str, float]] = {}
    for query, document, grade in zip(*(part.tolist() for part in targets), strict=True):
        qrels.setdefault(query, {})[document] = grade
    return ndcg_at_k(ranked, range(len(ranked)), qrels, K)


@dataclass(frozen=True, eq=False)
class HeldOutQueries:
    """Queries that nothing was fitted to, and the documents that they should find."""

    data: TrainingData
    targets: Targets

    @classmethod
    def from_data(cls, data: TrainingData) -> "HeldOutQueries":
        """Take the relevant documents as targets, or else the nearest ten at full width."""
        if data.judgments is not None:
            return cls(data, data.judgments)
        return cls(data, exact_top_k(data.queries, data.documents, K, data.self_match)[0])

    @property
    def metric(self) -> str:
        """The name of the metric: "ndcg@10" or "overlap@10"."""
        return f"{'overlap' if self.data.judgments is None else 'ndcg'}@{K}"

    def score_dims(self, transform: Transform, dims: Sequence[int]) -> dict[int, PerQuery]:
        """Score the cosine rankings by each prefix of the transform's output."""
        queries = transform.transform_queries(self.data.queries)
        documents = transform.transform(self.data.documents)
        return {width: self.score(queries[:, :width], documents[:, :width]) for width in dims}

    def score(
        self, queries: Float32[np.ndarray, "q dims"], documents: Float32[np.ndarray, "n dims"]
    ) -> PerQuery:
        """Score the cosine rankings by these rows, which are renormalised first."""
        hits, _ = exact_top_k(normalize(queries), normalize(documents), K, self.data.self_match)
        return ranking_quality(hits, self.targets)

    def mean_over_dims(self, transform: Transform, dims: Sequence[int]) -> PerQuery:
        """Average the scores over all dims, by which training stops early."""
        return np.asarray(np.mean(list(self.score_dims(transform, dims).values()), axis=0))
