"""One variant against the full vectors: every finding, and what a verdict may be built on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nestvec.audit.draw import generator
from nestvec.audit.edits import EDITED
from nestvec.audit.families import Family
from nestvec.audit.made import Kept, Made
from nestvec.audit.model import Check, Variant
from nestvec.audit.preflight import check_answers, check_cosine, check_variant
from nestvec.audit.task import Task
from nestvec.audit.verdict import Claim, Thresholds
from nestvec.audit.worst import worst_queries
from nestvec.statistics import Estimate


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


def measure(families: Sequence[Family], made: Made, confidence: float) -> Measured:
    """All that is asked of a variant; `confidence` is that of each claim."""
    exact, name, kept = made.exact, made.variant.name, made.kept
    seed = exact.task.seed
    parts = [
        part
        for family in families
        for part in family.findings(made, generator(seed, f"{name}: {family.name}"))
    ]
    metrics = {name: one for part in parts for name, one in part.metrics.items()}
    claim = kept.claim(confidence, exact.groups, generator(seed, f"{name}: claim"))
    return Measured(
        made.variant,
        metrics,
        {name: one for part in parts for name, one in part.details.items()},
        (*_checks(made), *_undefined(exact.task, metrics)),
        (*claim, *_hard_claims(exact.task, metrics)),
        kept,
        worst_queries(exact, made),
    )


def _checks(made: Made) -> tuple[Check, ...]:
    task, variant = made.exact.task, made.variant
    checks = check_variant(variant, task.full, made.encoded, task.unit)
    if task.unit and made.transform is not None:
        checks += check_cosine(variant, task.full, task.own)
    return (*checks, *check_answers(made.ranking))


def _hard_claims(task: Task, metrics: Mapping[str, Estimate]) -> tuple[Claim, ...]:
    """That near misses are still told apart.

    A PASS has to prove it of those that the caller gave. What the audit found or made itself may
    disprove it, and no more: some of what is mined answers the query, and few texts are edited.
    """
    given = task.negatives == "given"
    own = [(name, limit, at_most, given) for name, limit, at_most in _limits(task.thresholds)]
    made = [(f"{name}:{EDITED}", limit, at_most, False) for name, limit, at_most, _ in own]
    return tuple(
        Claim(name, metrics[name], limit, at_most, proof)
        for name, limit, at_most, proof in (*own, *made)
        if name in metrics
    )


def _limits(limits: Thresholds) -> tuple[tuple[str, float, bool], ...]:
    return (
        ("net_flips", limits.net_flips, True),
        ("excess_fragility", limits.excess_fragility, False),
    )


def _undefined(task: Task, metrics: Mapping[str, Estimate]) -> tuple[Check, ...]:
    """What was to be proven and has no value."""
    if task.negatives != "given" or "excess_fragility" in metrics:
        return ()
    said = (
        "excess fragility is not defined: no positive is told from random documents, or full "
        "vectors tell none from its near misses"
    )
    return (Check("excess fragility", "warning", said),)
