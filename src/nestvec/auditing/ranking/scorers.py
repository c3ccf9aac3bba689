"""Scorers of triplets: how a variant orders a positive and a hard negative."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from nestvec.auditing.measures.margins import random_score_std, triplet_margins
from nestvec.auditing.types import EmbeddingPair, Ranking, Triplets
from nestvec.shapes import Bool, Float64, Int64


@runtime_checkable
class Scorer(Protocol):
    """A way to compare the positive of a triplet with its negative."""

    def margins(self, triplets: Triplets) -> Float64[np.ndarray, " t"]:
        """Above 0 where the positive wins, 0 where both tie, below 0 where it loses."""
        ...

    def score_std(self, rng: np.random.Generator) -> float | None:
        """Standard deviation of the scores of random pairs; None where margins have no scale."""
        ...


@dataclass(frozen=True)
class VectorScorer:
    """Compare by inner products."""

    embeddings: EmbeddingPair

    def margins(self, triplets: Triplets) -> Float64[np.ndarray, " t"]:
        """s⁺ − s⁻."""
        return triplet_margins(self.embeddings, triplets)

    def score_std(self, rng: np.random.Generator) -> float | None:
        """Standard deviation of the inner products."""
        return random_score_std(self.embeddings, rng)


@dataclass(frozen=True)
class ShortlistScorer:
    """Compare as a reranked variant does: by full vectors, within its shortlist.

    A positive outside the shortlist loses whatever the negative does, because no query finds it. A
    negative outside loses to a positive inside. Two documents inside are compared by full vectors.
    """

    full: EmbeddingPair
    shortlist: Int64[np.ndarray, "q depth"]
    """Rows in the corpus of the documents that are reranked for each query."""
    rows: Int64[np.ndarray, " n"] | None = None
    """Row in the corpus of each document of `full`, if `full` is not the corpus. −1: none;
    such a document, a counterfactual, counts as part of every shortlist: the worst case."""

    def margins(self, triplets: Triplets) -> Float64[np.ndarray, " t"]:
        """s⁺ − s⁻ by full vectors; ∞ and −∞ where the shortlist decides."""
        margins = triplet_margins(self.full, triplets)
        margins[~self._contains(triplets.queries, triplets.negatives)] = np.inf
        margins[~self._contains(triplets.queries, triplets.positives)] = -np.inf
        return margins

    def score_std(self, rng: np.random.Generator) -> float | None:
        """None: where the shortlist decides there is no margin."""
        return None

    def _contains(
        self, queries: Int64[np.ndarray, " t"], documents: Int64[np.ndarray, " t"]
    ) -> Bool[np.ndarray, " t"]:
        rows = documents if self.rows is None else self.rows[documents]
        width = int(max(self.shortlist.max(), rows.max())) + 1
        numbers = self.shortlist + width * np.arange(len(self.shortlist))[:, None]
        return np.asarray((rows < 0) | np.isin(queries * width + rows, numbers))


@dataclass(frozen=True)
class HitsScorer:
    """Compare by the hits of a search: a positive that is not among them loses."""

    hits: Ranking

    def margins(self, triplets: Triplets) -> Float64[np.ndarray, " t"]:
        """Difference of both scores; ∞ and −∞ where one of the two is not among the hits."""
        positives, negatives = (
            self._scores(triplets.queries, documents)
            for documents in (triplets.positives, triplets.negatives)
        )
        margins = np.full_like(positives, -np.inf)
        np.subtract(positives, negatives, out=margins, where=~np.isneginf(positives))
        return margins

    def score_std(self, rng: np.random.Generator) -> float | None:
        """None: documents that are not hits have no score."""
        return None

    def _scores(
        self, queries: Int64[np.ndarray, " t"], documents: Int64[np.ndarray, " t"]
    ) -> Float64[np.ndarray, " t"]:
        """Scores of documents, −∞ for those that are not among their query's hits."""
        is_hit = self.hits.rows[queries] == documents[:, None]
        scores = np.take_along_axis(self.hits.scores[queries], is_hit.argmax(axis=1)[:, None], 1)
        return np.where(is_hit.any(axis=1), scores[:, 0].astype(np.float64), -np.inf)
