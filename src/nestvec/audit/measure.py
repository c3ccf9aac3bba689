"""One variant against the full vectors: every finding, and what a verdict may be built on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nestvec.audit.agreement import agreement
from nestvec.audit.distractors import Distractors
from nestvec.audit.exact import Exact, generator
from nestvec.audit.fidelity import fidelity, geometry, resolution
from nestvec.audit.growth import corpus_growth
from nestvec.audit.hard import excess_fragility, hard_negatives
from nestvec.audit.hardship import Hardship
from nestvec.audit.model import Check, Encoded, Findings, K, Variant
from nestvec.audit.preflight import check_answers, check_variant
from nestvec.audit.rank import Ranked
from nestvec.audit.relevance import NDCG, PerQuery, relevance, relevance_values
from nestvec.audit.transform import Transform
from nestvec.audit.verdict import Claim, Thresholds
from nestvec.audit.worst import worst_queries
from nestvec.shapes import Float64, Int64
from nestvec.statistics import Estimate, bootstrap_ratio, lower_bound_of_ratio

OVERLAP = f"overlap_with_ties@{K}"


@dataclass(frozen=True)
class Made:
    """A variant's vectors, what it answers by them, and how they were made (None: elsewhere)."""

    variant: Variant
    transform: Transform | None
    encoded: Encoded
    found: Ranked
    """`ranking` is rescored, if the variant is; `depths` are of the ranking before."""
    distractors: Distractors | None
    """Before rescoring; None as those of the full vectors."""


@dataclass(frozen=True)
class Kept:
    """What a verdict is about, per query asked: nDCG@10, or the overlap without judgements."""

    name: str
    before: Float64[np.ndarray, " asked"]
    after: Float64[np.ndarray, " asked"]
    limit: float

    def claim(
        self,
        confidence: float,
        groups: Int64[np.ndarray, " asked"] | None,
        rng: np.random.Generator,
    ) -> tuple[Claim, ...]:
        """That enough is kept, with `confidence`; nothing where there is nothing to keep."""
        if not self.before.any():
            return ()
        sides = self.after, self.before
        estimate = bootstrap_ratio(*sides, rng, groups=groups)
        low = lower_bound_of_ratio(*sides, rng, confidence, groups=groups)
        return (Claim(self.name, estimate._replace(low=low), self.limit),)


@dataclass(frozen=True)
class Measured:
    """What was found of one variant."""

    variant: Variant
    metrics: Mapping[str, Estimate]
    details: Mapping[str, Any]
    """By the check that they explain."""
    checks: tuple[Check, ...]
    claims: tuple[Claim, ...]
    kept: Kept
    worst: list[dict[str, Any]]


def measure(exact: Exact, hardship: Hardship, made: Made, confidence: float) -> Measured:
    """All that is asked of a variant; `confidence` is that of each claim."""
    task, rng = exact.task, generator(exact.task.seed, made.variant.name)
    ranking = made.found.ranking
    agreed = agreement(task.full, exact.ranking, ranking, task.unit)
    relevant = None if task.judged is None else relevance_values(ranking.rows, task.judged)
    kept = _kept(exact, agreed, relevant)
    parts = [
        fidelity(agreed, made.found.depths, len(task.full.documents), rng, task.groups),
        resolution(task.full, made.encoded, exact.ranking, rng),
        geometry(made.encoded, ranking, rng),
        *hardship.of_slices(kept.before, kept.after, rng),
    ]
    if relevant is not None and exact.relevance is not None:
        parts.append(relevance(exact.relevance, relevant, rng, exact.groups))
    if not made.variant.rescore:
        parts += [*_of_scores(exact, made, rng), *_of_hardship(hardship, made, rng)]
    metrics = {name: one for part in parts for name, one in part.metrics.items()}
    rankings = exact.ranking.rows[exact.asked], ranking.rows[exact.asked]
    names = [task.query_ids[row] for row in exact.asked], task.ids
    return Measured(
        made.variant,
        metrics,
        {name: one for part in parts for name, one in part.details.items()},
        (
            *check_variant(made.variant, task.full, made.encoded, task.unit),
            *check_answers(ranking),
        ),
        (*kept.claim(confidence, exact.groups, rng), *_hard_claims(metrics, task.thresholds)),
        kept,
        worst_queries(kept.before, kept.after, rankings, names),
    )


def _kept(exact: Exact, agreed: PerQuery, relevant: PerQuery | None) -> Kept:
    limits = exact.task.thresholds
    if exact.relevance is None or relevant is None:
        after = agreed[OVERLAP]
        return Kept(OVERLAP, np.ones_like(after), after, limits.overlap)
    name = f"{NDCG}_retention"
    return Kept(name, exact.relevance[NDCG], relevant[NDCG], limits.retention)


def _of_scores(exact: Exact, made: Made, rng: np.random.Generator) -> list[Findings]:
    """Hard negatives and corpus growth: of scores, and so not of a variant that is rescored."""
    task, parts = exact.task, []
    if task.triplets is not None:
        parts.append(hard_negatives(task.full, made.encoded, task.triplets, rng))
        parts.append(excess_fragility(task.full, made.encoded, task.triplets, rng))
    if exact.distractors is not None and made.distractors is not None:
        parts.append(corpus_growth(exact.distractors, made.distractors, K, rng))
    return parts


def _of_hardship(hardship: Hardship, made: Made, rng: np.random.Generator) -> list[Findings]:
    """What needs more queries or documents to be encoded: not of vectors made elsewhere."""
    if made.transform is None:
        return []
    ranking, documents = made.found.ranking, made.encoded.documents
    noise = hardship.of_noise(made.transform, documents, ranking, rng)
    return [*noise, *hardship.of_poison(made.transform, made.encoded, ranking, rng)]


def _hard_claims(metrics: Mapping[str, Estimate], limits: Thresholds) -> tuple[Claim, ...]:
    claims = (
        ("net_flips", limits.net_flips, True),
        ("excess_fragility", limits.excess_fragility, False),
    )
    return tuple(
        Claim(name, metrics[name], limit, at_most)
        for name, limit, at_most in claims
        if name in metrics
    )
