"""Baseline of an audit: the ranking by the full-precision vectors, and its quality."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nestvec.auditing.audit_inputs import AuditInputs
from nestvec.auditing.measures.distractors import Distractors, ScoreTally, min_distractors
from nestvec.auditing.measures.fidelity import geometry
from nestvec.auditing.measures.relevance import PerQuery, relevance_values
from nestvec.auditing.ranking.full_ranking import RankingWithDepths, rank_all
from nestvec.auditing.seeding import generator
from nestvec.auditing.types import EmbeddingPair, K, Ranking
from nestvec.progress import Advance
from nestvec.shapes import Int64
from nestvec.statistics import Estimate, bootstrap_mean


@dataclass(frozen=True)
class Baseline:
    """Ranking by the full-precision vectors, with which every variant is compared."""

    inputs: AuditInputs
    ranking: Ranking
    distractors: Distractors | None
    """Distractors of the relevant documents; None without judgments or if documents are too few."""

    @classmethod
    def of(cls, inputs: AuditInputs, advance: Advance) -> "Baseline":
        """Rank the full vectors; `advance` is called with the number of queries just ranked."""
        first_pass, distractors = rank_embeddings(
            inputs, inputs.full, inputs.depth, advance=advance
        )
        return cls(inputs, first_pass.ranking, distractors)

    @cached_property
    def relevance(self) -> PerQuery | None:
        """Relevance of the ranking, per query with judgments; None if there are none."""
        judgments = self.inputs.judgments
        return None if judgments is None else relevance_values(self.ranking.rows, judgments)

    def shortlist(self, count: int) -> Int64[np.ndarray, "q count"]:
        """First `count` rows by the full vectors, at most as many as any variant reranks."""
        rows = self.ranking.rows
        return (rows if count <= rows.shape[1] else self._deepest_shortlist)[:, :count]

    @cached_property
    def _deepest_shortlist(self) -> Int64[np.ndarray, "q depth"]:
        longest = max(audited.variant.rerank for audited in self.inputs.variants)
        depth = min(longest, len(self.inputs.full.documents) - 1)
        return rank_all(self.inputs.full, depth, self.inputs.self_match).ranking.rows

    @property
    def evaluated_queries(self) -> Int64[np.ndarray, " evaluated"]:
        """Rows of the queries that a verdict is about: those with judgments, or else all."""
        return self.inputs.evaluated_queries

    @cached_property
    def groups(self) -> Int64[np.ndarray, " evaluated"] | None:
        """Groups of the evaluated queries."""
        return None if self.inputs.groups is None else self.inputs.groups[self.evaluated_queries]

    def metrics(self) -> dict[str, Estimate]:
        """Geometry and relevance of the full vectors themselves."""
        rng = generator(self.inputs.seed, "full")
        metrics = dict(geometry(self.inputs.full, self.ranking, rng).metrics)
        for name, values in (self.relevance or {}).items():
            metrics[name] = bootstrap_mean(values, rng, groups=self.groups)
        return metrics


def rank_embeddings(
    inputs: AuditInputs,
    embeddings: EmbeddingPair,
    depth: int,
    targets: Int64[np.ndarray, "q m"] | None = None,
    advance: Advance = lambda _: None,
) -> tuple[RankingWithDepths, Distractors | None]:
    """Rank embeddings as `rank_all` does, and count the distractors of relevant documents."""
    judgments, self_match = inputs.judgments, inputs.self_match
    if judgments is None or min_distractors(embeddings, judgments) < K:
        return rank_all(embeddings, depth, self_match, targets, advance), None
    tally = ScoreTally.of(embeddings, judgments, self_match)
    ranking = rank_all(embeddings, depth, self_match, targets, advance, tally.add)
    return ranking, tally.distractors()
