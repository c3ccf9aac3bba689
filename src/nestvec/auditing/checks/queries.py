"""Checks of difficult queries: slices, perturbed and out-of-distribution queries."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from nestvec.auditing.baseline import Baseline
from nestvec.auditing.evaluated import EvaluatedVariant
from nestvec.auditing.measures.paired import Paired
from nestvec.auditing.measures.relevance import ndcg_values
from nestvec.auditing.measures.stress import (
    COSINES,
    long_tail,
    mahalanobis_distance,
    noisy_queries,
    out_of_distribution,
    perturbation_effect,
    slice_effect,
)
from nestvec.auditing.ranking.full_ranking import rank_all
from nestvec.auditing.seeding import generator
from nestvec.auditing.types import CheckResult, EmbeddingPair, K
from nestvec.metrics import overlap
from nestvec.shapes import Float32, Float64, Int64

_MIN_QUERIES = 20
"""Fewer queries are not divided into quarters by their distance from the documents."""


@dataclass(frozen=True)
class SliceCheck:
    """Slices of the queries: supplied ones, the rarest, and the farthest from the documents.

    Cross-modal pairs are slices too: queries of one modality beside those of the other.
    """

    seed_key: ClassVar[str] = "slices"
    baseline: Baseline

    @classmethod
    def prepare(cls, baseline: Baseline) -> "SliceCheck | None":
        """Prepare the check where there are enough queries to divide."""
        return cls(baseline) if len(baseline.evaluated_queries) >= _MIN_QUERIES else None

    def results(self, variant: EvaluatedVariant, rng: np.random.Generator) -> Iterable[CheckResult]:
        """Compare the primary metric in each slice with that of the other queries."""
        scores, stress = variant.primary_metric.paired, self.baseline.inputs.stress
        query_rows = self.baseline.evaluated_queries
        yield out_of_distribution(scores, self._distances, rng)
        if stress.frequencies is not None:
            yield long_tail(scores, stress.frequencies[query_rows], rng)
        for label, in_slice in stress.slices.items():
            yield _with_label(label, slice_effect("slice", scores, in_slice[query_rows], rng))

    @cached_property
    def _distances(self) -> Float64[np.ndarray, " queries"]:
        full = self.baseline.inputs.full
        return mahalanobis_distance(full.queries[self.baseline.evaluated_queries], full.documents)


@dataclass(frozen=True)
class PerturbationCheck:
    """Perturbed queries: noise on their vectors, typing errors, and supplied perturbations."""

    seed_key: ClassVar[str] = "disturbed queries"
    baseline: Baseline

    @classmethod
    def prepare(cls, baseline: Baseline) -> "PerturbationCheck":
        """Prepare the check, which applies to all inputs."""
        return cls(baseline)

    def results(self, variant: EvaluatedVariant, rng: np.random.Generator) -> Iterable[CheckResult]:
        """Measure nDCG@10 of perturbed queries, compared with the same queries unperturbed.

        Without relevance judgments it is the overlap with the baseline's hits of the unperturbed
        query. Nothing for vectors compressed elsewhere: perturbed queries must be encoded alike.
        """
        if not variant.ranks_other_queries:
            return
        inputs = self.baseline.inputs
        query_rows = inputs.stress_sample
        clean_hits = variant.ranking.rows[query_rows, :K]
        clean = Paired(self._scores(self._clean_hits), self._scores(clean_hits))
        for name, queries in self._queries.items():
            hits = variant.top_hits(queries, inputs.self_match[query_rows])
            perturbed = Paired(self._baseline_scores[name], self._scores(hits))
            yield perturbation_effect(name, clean, perturbed, rng)

    @cached_property
    def _queries(self) -> Mapping[str, Float32[np.ndarray, "sample dim"]]:
        """Perturbed queries at full width, by the name of the perturbation."""
        inputs = self.baseline.inputs
        queries, rng = inputs.full.queries[inputs.stress_sample], generator(inputs.seed, "noise")
        # A single dimension has no direction to turn to.
        cosines = COSINES if queries.shape[1] > 1 else ()
        noise = {f"noise_{cosine}": noisy_queries(queries, cosine, rng) for cosine in cosines}
        return noise | dict(inputs.stress.perturbed_queries)

    @cached_property
    def _clean_hits(self) -> Int64[np.ndarray, "sample k"]:
        return self.baseline.ranking.rows[self.baseline.inputs.stress_sample, :K]

    @cached_property
    def _baseline_scores(self) -> Mapping[str, Float64[np.ndarray, " sample"]]:
        inputs = self.baseline.inputs
        self_match = inputs.self_match[inputs.stress_sample]
        return {
            name: self._scores(_full_width_hits(queries, self.baseline, self_match))
            for name, queries in self._queries.items()
        }

    def _scores(self, hits: Int64[np.ndarray, "sample k"]) -> Float64[np.ndarray, " sample"]:
        inputs = self.baseline.inputs
        if inputs.judgments is None:
            return overlap(hits, self._clean_hits, K)
        return ndcg_values(hits, inputs.stress_sample, inputs.judgments)


@dataclass(frozen=True)
class OutOfDistributionCheck:
    """Queries of another kind than the audited ones, without relevance judgments."""

    seed_key: ClassVar[str] = "strangers"
    baseline: Baseline

    @classmethod
    def prepare(cls, baseline: Baseline) -> "OutOfDistributionCheck | None":
        """Prepare the check where such queries were supplied."""
        return cls(baseline) if baseline.inputs.stress.out_of_distribution_queries else None

    def results(self, variant: EvaluatedVariant, rng: np.random.Generator) -> Iterable[CheckResult]:
        """Compare the overlap@10 with the baseline with that of the audited queries.

        Nothing for vectors compressed elsewhere: these queries must be encoded as the others were.
        """
        if not variant.ranks_other_queries:
            return
        overlaps = variant.agreement[f"overlap@{K}"]
        for name, queries in self.baseline.inputs.stress.out_of_distribution_queries.items():
            hits = variant.top_hits(queries, _no_self_match(queries))
            scores = np.concatenate([overlaps, overlap(hits, self._baseline_hits[name], K)])
            is_out_of_distribution = np.arange(len(scores)) >= len(overlaps)
            paired = Paired(np.ones_like(scores), scores)
            yield slice_effect(name, paired, is_out_of_distribution, rng)

    @cached_property
    def _baseline_hits(self) -> Mapping[str, Int64[np.ndarray, "m k"]]:
        return {
            name: _full_width_hits(queries, self.baseline, _no_self_match(queries))
            for name, queries in self.baseline.inputs.stress.out_of_distribution_queries.items()
        }


def _full_width_hits(
    queries: Float32[np.ndarray, "m dim"], baseline: Baseline, self_match: Int64[np.ndarray, " m"]
) -> Int64[np.ndarray, "m k"]:
    embeddings = EmbeddingPair(queries, baseline.inputs.full.documents)
    return rank_all(embeddings, K, self_match).ranking.rows


def _no_self_match(queries: Float32[np.ndarray, "m dim"]) -> Int64[np.ndarray, " m"]:
    return np.full(len(queries), -1, np.int64)


def _with_label(label: str, result: CheckResult) -> CheckResult:
    """Name metrics and details `name:label`, as those of kinds of hard negatives are named."""
    return CheckResult(
        {f"{name}:{label}": estimate for name, estimate in result.metrics.items()},
        {f"{name}:{label}": details for name, details in result.details.items()},
    )
