"""Checks of the corpus: its growth, and documents that an attacker plants in it."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from nestvec.auditing.baseline import Baseline
from nestvec.auditing.evaluated import EvaluatedVariant
from nestvec.auditing.measures.distractors import Distractors
from nestvec.auditing.measures.growth import corpus_growth
from nestvec.auditing.measures.paired import Paired
from nestvec.auditing.measures.poisoning import (
    PLANTED,
    PlantedDocuments,
    make_planted,
    poisoning,
    reaches_top_k,
)
from nestvec.auditing.seeding import generator
from nestvec.auditing.types import CheckResult, K
from nestvec.shapes import Bool, Float32, Float64


@dataclass(frozen=True)
class GrowthCheck:
    """Recall of the relevant documents among fewer and more distractors."""

    seed_key: ClassVar[str] = "growth"
    baseline: Baseline
    full_width_distractors: Distractors

    @classmethod
    def prepare(cls, baseline: Baseline) -> "GrowthCheck | None":
        """Prepare the check where there are relevance judgments and enough distractors."""
        distractors = baseline.distractors
        return None if distractors is None else cls(baseline, distractors)

    def results(self, variant: EvaluatedVariant, rng: np.random.Generator) -> Iterable[CheckResult]:
        """Measure recall@10, or with a rerank, how many relevant documents reach the shortlist.

        The full vectors order the shortlist. So among m documents, the recall of both stages
        together is at most the smaller of the two recalls, and at least their sum − 1.
        """
        depth = variant.variant.rerank or K
        if variant.distractors is None or depth > self.full_width_distractors.min_count:
            return
        growth = corpus_growth(self.full_width_distractors, variant.distractors, depth, rng)
        yield _in_shortlist(growth) if variant.variant.rerank else growth


@dataclass(frozen=True)
class PoisoningCheck:
    """Success of documents planted in the midst of half of the queries with the other half."""

    seed_key: ClassVar[str] = "poisoning"
    baseline: Baseline

    @classmethod
    def prepare(cls, baseline: Baseline) -> "PoisoningCheck | None":
        """Prepare the check where an attacker has enough queries to learn from."""
        return cls(baseline) if len(baseline.inputs.full.queries) >= 2 * PLANTED else None

    def results(self, variant: EvaluatedVariant, rng: np.random.Generator) -> Iterable[CheckResult]:
        """Measure the share of held-out queries that a planted document reaches.

        Nothing for vectors compressed elsewhere and for plans: planted documents must be encoded as
        the others were.
        """
        if variant.encoder is None or variant.embeddings is None:
            return
        held_out, vectors = self._planted.held_out, self._planted.vectors
        codes = variant.encoder.encode_documents(vectors)
        is_reranked = variant.shortlist is not None
        ranking = variant.shortlist if is_reranked else variant.first_pass
        assert ranking is not None
        last_scores = ranking.scores[held_out, -1 if is_reranked else K - 1]
        success = reaches_top_k(variant.embeddings.queries[held_out], codes, last_scores)
        if is_reranked:
            # A planted document has to reach the shortlist first, and then the first ten.
            success &= self._reaches_baseline(variant.ranking.scores[held_out, K - 1])
        yield poisoning(Paired(self._baseline_success, _any_success(success)), rng)

    @cached_property
    def _planted(self) -> PlantedDocuments:
        inputs = self.baseline.inputs
        return make_planted(inputs.full, generator(inputs.seed, "poison"))

    @cached_property
    def _baseline_success(self) -> Float64[np.ndarray, " h"]:
        kth_scores = self.baseline.ranking.scores[self._planted.held_out, K - 1]
        return _any_success(self._reaches_baseline(kth_scores))

    def _reaches_baseline(
        self, kth_scores: Float32[np.ndarray, " h"]
    ) -> Bool[np.ndarray, "h planted"]:
        queries = self.baseline.inputs.full.queries[self._planted.held_out]
        return reaches_top_k(queries, self._planted.vectors, kth_scores)


def _in_shortlist(growth: CheckResult) -> CheckResult:
    return CheckResult(
        {f"shortlist_{name}": estimate for name, estimate in growth.metrics.items()},
        {f"shortlist_{name}": details for name, details in growth.details.items()},
    )


def _any_success(success: Bool[np.ndarray, "h planted"]) -> Float64[np.ndarray, " h"]:
    return np.asarray(success.any(axis=1), np.float64)
