"""Evaluation of one variant: the result of every check, and the claims that decide its verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nestvec.auditing.audit_inputs import AuditInputs
from nestvec.auditing.checks import Check
from nestvec.auditing.evaluated import EvaluatedVariant, PrimaryMetric
from nestvec.auditing.preflight import check_cosine, check_ranking, check_variant
from nestvec.auditing.reporting.worst_queries import worst_queries
from nestvec.auditing.seeding import generator
from nestvec.auditing.types import COUNTERFACTUAL, PreflightCheck, Variant
from nestvec.auditing.verdict import Claim, Thresholds
from nestvec.statistics import Estimate


@dataclass(frozen=True)
class VariantResult:
    """Results of one variant: everything that the report says about it but for the verdict."""

    variant: Variant
    metrics: Mapping[str, Estimate]
    details: Mapping[str, Any]
    """By the check that they explain."""
    preflight: tuple[PreflightCheck, ...]
    claims: tuple[Claim, ...]
    primary_metric: PrimaryMetric
    worst_queries: list[dict[str, Any]]


def evaluate_variant(
    checks: Sequence[Check], evaluated: EvaluatedVariant, confidence: float
) -> VariantResult:
    """Run all checks on a variant; `confidence` is that of each of its claims."""
    baseline, primary_metric = evaluated.baseline, evaluated.primary_metric
    inputs, seed_key = baseline.inputs, evaluated.variant.seed_key
    results = [
        result
        for check in checks
        for result in check.results(
            evaluated, generator(inputs.seed, f"{seed_key}: {check.seed_key}")
        )
    ]
    metrics = {name: metric for result in results for name, metric in result.metrics.items()}
    details = {name: entry for result in results for name, entry in result.details.items()}
    claims = primary_metric.claim(
        confidence, baseline.groups, generator(inputs.seed, f"{seed_key}: claim")
    )
    return VariantResult(
        evaluated.variant,
        metrics,
        details,
        (*_preflight(evaluated), *_hard_negative_warnings(inputs, metrics, details)),
        (*claims, *_hard_negative_claims(inputs, metrics, details)),
        primary_metric,
        worst_queries(baseline, evaluated),
    )


def _preflight(evaluated: EvaluatedVariant) -> tuple[PreflightCheck, ...]:
    inputs, variant = evaluated.baseline.inputs, evaluated.variant
    checks = []
    if evaluated.embeddings is not None:
        checks += check_variant(variant, inputs.full, evaluated.embeddings, inputs.unit)
    if inputs.unit and evaluated.encoder is not None:
        checks += check_cosine(variant, inputs.full, inputs.self_match)
    return (*checks, *check_ranking(evaluated.ranking))


def _hard_negative_claims(
    inputs: AuditInputs, metrics: Mapping[str, Estimate], details: Mapping[str, Any]
) -> tuple[Claim, ...]:
    """Claims that the variant still tells positives from hard negatives.

    A PASS has to prove them for hard negatives that the caller passed. Mined ones and
    counterfactuals may disprove them, and no more: some mined documents do answer the query, and
    only a few texts are edited. Nothing is claimed of counterfactuals that the full vectors do not
    tell apart themselves, because a guess cannot get worse.
    """
    limits = [
        (name, threshold, at_most, inputs.hard_negative_source == "user")
        for name, threshold, at_most in _limits(inputs.thresholds)
    ]
    if _baseline_separates(details.get("counterfactual_documents")):
        limits += [
            (f"{name}:{COUNTERFACTUAL}", threshold, at_most, False)
            for name, threshold, at_most, _ in limits
        ]
    return tuple(
        Claim(name, metrics[name], threshold, at_most, required_for_pass)
        for name, threshold, at_most, required_for_pass in limits
        if name in metrics
    )


def _baseline_separates(details: Mapping[str, Any] | None) -> bool:
    """Tell whether full vectors score positives above hard negatives more often than at random."""
    if details is None:
        return False
    accuracy = "triplet_accuracy"
    return bool(details["full"][accuracy]["low"] > details["chance"][accuracy])


def _limits(thresholds: Thresholds) -> tuple[tuple[str, float, bool], ...]:
    return (
        ("net_flips", thresholds.net_flips, True),
        ("excess_fragility", thresholds.excess_fragility, False),
    )


def _hard_negative_warnings(
    inputs: AuditInputs, metrics: Mapping[str, Estimate], details: Mapping[str, Any]
) -> tuple[PreflightCheck, ...]:
    """Warnings about the caller's hard negatives, where they cannot show what compression costs."""
    if inputs.hard_negative_source != "user":
        return ()
    checks = []
    if not _baseline_separates(details["hard_negatives"]):
        message = (
            "full vectors separate positives from hard negatives no better than chance, so a "
            "variant has nothing to lose on them; pass hard negatives that the full vectors get "
            "right"
        )
        checks.append(PreflightCheck("above chance", "warning", message))
    if "excess_fragility" not in metrics:
        message = (
            "excess fragility is not defined, because positives do not score above random "
            "documents either; check that ids of queries and documents match"
        )
        checks.append(PreflightCheck("excess fragility", "warning", message))
    return tuple(checks)
