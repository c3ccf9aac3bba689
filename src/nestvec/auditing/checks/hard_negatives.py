"""Checks of hard negatives: supplied, mined, or edited positives."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nestvec.auditing.baseline import Baseline
from nestvec.auditing.evaluated import EvaluatedVariant
from nestvec.auditing.measures.hard_negatives import excess_fragility, hard_negative_metrics
from nestvec.auditing.perturbations.mining import mine_from_union
from nestvec.auditing.perturbations.reencoding import Counterfactuals
from nestvec.auditing.ranking.scorers import Scorer, ShortlistScorer, VectorScorer
from nestvec.auditing.types import COUNTERFACTUAL, CheckResult, EmbeddingPair, Triplets


@dataclass(frozen=True)
class HardNegativeCheck:
    """Hard negatives among the documents, supplied or mined."""

    seed_key: ClassVar[str] = "near misses"
    baseline: Baseline

    @classmethod
    def prepare(cls, baseline: Baseline) -> "HardNegativeCheck | None":
        """Prepare the check where hard negatives were supplied or can be mined."""
        return None if baseline.inputs.hard_negative_source is None else cls(baseline)

    def results(self, variant: EvaluatedVariant, rng: np.random.Generator) -> Iterable[CheckResult]:
        """Measure how well a variant tells hard negatives from positives, and its fragility."""
        triplets = self._triplets(variant)
        if triplets is None:
            return
        n_documents = len(self.baseline.inputs.full.documents)
        yield hard_negative_metrics(*variant.scorers, triplets, rng)
        yield excess_fragility(*variant.scorers, triplets, n_documents, rng)

    def _triplets(self, variant: EvaluatedVariant) -> Triplets | None:
        inputs = self.baseline.inputs
        if inputs.triplets is not None or inputs.judgments is None:
            return inputs.triplets
        rankings = variant.baseline_ranking.rows, variant.ranking.rows
        n_documents = len(inputs.full.documents)
        return mine_from_union(rankings, inputs.judgments, inputs.self_match, n_documents)


@dataclass(frozen=True)
class CounterfactualCheck:
    """Hard negatives that are positives with one wrong detail, by construction."""

    seed_key: ClassVar[str] = "edited documents"
    counterfactuals: Counterfactuals

    @classmethod
    def prepare(cls, baseline: Baseline) -> "CounterfactualCheck | None":
        """Prepare the check where texts could be edited and encoded."""
        counterfactuals = baseline.inputs.stress.counterfactuals
        return None if counterfactuals is None else cls(counterfactuals)

    def results(self, variant: EvaluatedVariant, rng: np.random.Generator) -> Iterable[CheckResult]:
        """Measure edited documents as hard negatives: all kinds together, and each kind.

        Nothing for vectors compressed elsewhere: edited documents must be encoded as they were.
        """
        if variant.encoder is None:
            return
        triplets, scorers = self.counterfactuals.triplets, self._scorers(variant)
        hard = hard_negative_metrics(*scorers, triplets, rng)
        yield CheckResult(
            {_metric_key(name): estimate for name, estimate in hard.metrics.items()},
            {"counterfactual_documents": hard.details["hard_negatives"]},
        )
        fragility = excess_fragility(*scorers, triplets, self.counterfactuals.n_corpus, rng)
        yield CheckResult({_metric_key(name): e for name, e in fragility.metrics.items()})

    def _scorers(self, variant: EvaluatedVariant) -> tuple[Scorer, Scorer]:
        """Make scorers as `EvaluatedVariant.scorers` does, for the small corpus of the edits."""
        edits, encoder = self.counterfactuals, variant.encoder
        assert encoder is not None
        if variant.shortlist is not None:
            shortlist = variant.shortlist.rows
            baseline_scorer, variant_scorer = (
                ShortlistScorer(edits.full, rows[edits.queries], edits.rows)
                for rows in (variant.baseline.shortlist(shortlist.shape[1]), shortlist)
            )
            return baseline_scorer, variant_scorer
        embeddings = EmbeddingPair(
            encoder.encode_queries(edits.full.queries),
            encoder.encode_documents(edits.full.documents),
        )
        return VectorScorer(edits.full), VectorScorer(embeddings)


def _metric_key(name: str) -> str:
    return name if ":" in name else f"{name}:{COUNTERFACTUAL}"
