"""A compressed variant with its embeddings, its ranking and its quality per query."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nestvec.auditing.baseline import Baseline
from nestvec.auditing.compression.variant_encoder import VariantEncoder
from nestvec.auditing.measures.agreement import agreement
from nestvec.auditing.measures.distractors import Distractors
from nestvec.auditing.measures.paired import Paired
from nestvec.auditing.measures.relevance import NDCG, PerQuery, relevance_values
from nestvec.auditing.ranking.full_ranking import first_k, rank_all, rerank
from nestvec.auditing.ranking.plan_search import PlanSearch
from nestvec.auditing.ranking.scorers import HitsScorer, Scorer, ShortlistScorer, VectorScorer
from nestvec.auditing.types import EmbeddingPair, K, Ranking, Variant
from nestvec.auditing.verdict import Claim
from nestvec.shapes import Float32, Float64, Int64
from nestvec.statistics import bootstrap_ratio, lower_bound_of_ratio

OVERLAP = f"overlap_with_ties@{K}"


@dataclass(frozen=True)
class PrimaryMetric:
    """The metric that a verdict is about: nDCG@10, or without judgments the overlap@10.

    One score per evaluated query by the full vectors and by the variant.
    """

    name: str
    baseline_scores: Float64[np.ndarray, " evaluated"]
    variant_scores: Float64[np.ndarray, " evaluated"]
    threshold: float

    @property
    def paired(self) -> Paired:
        """Both scores of each query, side by side."""
        return Paired(self.baseline_scores, self.variant_scores)

    def claim(
        self,
        confidence: float,
        groups: Int64[np.ndarray, " evaluated"] | None,
        rng: np.random.Generator,
    ) -> tuple[Claim, ...]:
        """Claim that retention reaches the threshold; empty where the baseline scores nothing."""
        if not self.baseline_scores.any():
            return ()
        scores = self.variant_scores, self.baseline_scores
        estimate = bootstrap_ratio(*scores, rng, groups=groups)
        low = lower_bound_of_ratio(*scores, rng, confidence, groups=groups)
        return (Claim(self.name, estimate._replace(low=low), self.threshold),)


@dataclass(frozen=True)
class EvaluatedVariant:
    """A compressed variant with its embeddings, its ranking and its quality per query.

    The embeddings of a search plan stay in the store that runs it.
    """

    baseline: Baseline
    variant: Variant
    first_pass: Ranking
    """Ranking by the variant's embeddings, deep enough to be reranked; of a plan, its 10 hits."""
    embeddings: EmbeddingPair | None = None
    """None for a plan."""
    encoder: VariantEncoder | None = None
    """None for a plan, and for embeddings that were compressed elsewhere: other vectors cannot be
    compressed like them."""
    depths: Int64[np.ndarray, " q"] | None = None
    """Depth at which the first pass contains the baseline's first 10; None for a plan."""
    distractors: Distractors | None = None
    """Distractors of the judged documents under these embeddings; None as in `Baseline`."""
    plan_search: PlanSearch | None = None
    """The plan with the store that runs it; None for embeddings."""

    @cached_property
    def ranking(self) -> Ranking:
        """Final ranking: that of the first pass, reranked if the variant is."""
        inputs, ranking = self.baseline.inputs, self.first_pass
        if self._n_rerank:
            ranking = rerank(inputs.full, ranking, self._n_rerank)
        return first_k(ranking, inputs.depth)

    @property
    def shortlist(self) -> Ranking | None:
        """Candidates of the rerank by the scores of the variant's embeddings; None without one."""
        return first_k(self.first_pass, self._n_rerank) if self._n_rerank else None

    @property
    def scorers(self) -> tuple[Scorer, Scorer]:
        """Scorers of triplets in the corpus: by the full vectors, and by the variant.

        Where the variant reranks a shortlist, the full vectors have one of that length too:
        compression does not lose what a shortlist of full vectors would not hold either. A plan is
        compared by its hits, and so are the full vectors beside it.
        """
        full = self.baseline.inputs.full
        if self.embeddings is None:
            return HitsScorer(self.baseline_ranking), HitsScorer(self.ranking)
        if self.shortlist is None:
            return VectorScorer(full), VectorScorer(self.embeddings)
        baseline_shortlist = self.baseline.shortlist(self._n_rerank)
        return (
            ShortlistScorer(full, baseline_shortlist),
            ShortlistScorer(full, self.shortlist.rows),
        )

    @cached_property
    def agreement(self) -> PerQuery:
        """Agreement of the ranking with the baseline's, per query."""
        inputs = self.baseline.inputs
        return agreement(inputs.full, self.baseline_ranking, self.ranking, inputs.unit)

    @property
    def baseline_ranking(self) -> Ranking:
        """The baseline's ranking, as deep as the variant's."""
        return first_k(self.baseline.ranking, self.ranking.rows.shape[1])

    @cached_property
    def relevance(self) -> PerQuery | None:
        """Relevance of the ranking, per query with judgments; None if there are none."""
        judgments = self.baseline.inputs.judgments
        return None if judgments is None else relevance_values(self.ranking.rows, judgments)

    @cached_property
    def primary_metric(self) -> PrimaryMetric:
        """Retention of nDCG@10, or the overlap with the baseline where there are no judgments."""
        thresholds = self.baseline.inputs.thresholds
        full, variant = self.baseline.relevance, self.relevance
        if full is None or variant is None:
            overlap = self.agreement[OVERLAP]
            return PrimaryMetric(OVERLAP, np.ones_like(overlap), overlap, thresholds.overlap)
        return PrimaryMetric(f"{NDCG}_retention", full[NDCG], variant[NDCG], thresholds.retention)

    @property
    def ranks_other_queries(self) -> bool:
        """False for embeddings that were compressed elsewhere."""
        return self.encoder is not None or self.plan_search is not None

    def top_hits(
        self, queries: Float32[np.ndarray, "m dim"], self_match: Int64[np.ndarray, " m"]
    ) -> Int64[np.ndarray, "m k"]:
        """Rank the corpus for other queries of full width, and return the first 10 rows.

        Reranked if the variant is. Only for a variant that `ranks_other_queries`.
        """
        if self.plan_search is not None:
            return self.plan_search.top_k(queries, K, self_match).rows
        assert self.encoder is not None and self.embeddings is not None
        pair = EmbeddingPair(self.encoder.encode_queries(queries), self.embeddings.documents)
        ranking = rank_all(pair, max(K, self._n_rerank), self_match).ranking
        if self._n_rerank:
            full = EmbeddingPair(queries, self.baseline.inputs.full.documents)
            ranking = rerank(full, ranking, self._n_rerank)
        return ranking.rows[:, :K]

    @property
    def _n_rerank(self) -> int:
        return min(self.variant.rerank, len(self.baseline.inputs.full.documents) - 1)
