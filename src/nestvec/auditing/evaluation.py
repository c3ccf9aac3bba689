"""One variant against the full vectors: every finding, and what a verdict may be built on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nestvec.auditing.checks import Family
from nestvec.auditing.evaluated import Kept, Made
from nestvec.auditing.preflight import check_answers, check_cosine, check_variant
from nestvec.auditing.reporting.worst_queries import worst_queries
from nestvec.auditing.seeding import generator
from nestvec.auditing.task import Task
from nestvec.auditing.types import EDITED, Check, Variant
from nestvec.auditing.verdict import Claim, Thresholds
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
    details = {name: one for part in parts for name, one in part.details.items()}
    claim = kept.claim(confidence, exact.groups, generator(seed, f"{name}: claim"))
    return Measured(
        made.variant,
        metrics,
        details,
        (*_checks(made), *_floor(exact.task, metrics, details)),
        (*claim, *_hard_claims(exact.task, metrics, details)),
        kept,
        worst_queries(exact, made),
    )


def _checks(made: Made) -> tuple[Check, ...]:
    task, variant = made.exact.task, made.variant
    checks = check_variant(variant, task.full, made.encoded, task.unit)
    if task.unit and made.transform is not None:
        checks += check_cosine(variant, task.full, task.own)
    return (*checks, *check_answers(made.ranking))


def _hard_claims(
    task: Task, metrics: Mapping[str, Estimate], details: Mapping[str, Any]
) -> tuple[Claim, ...]:
    """That near misses are still told apart.

    A PASS has to prove it of those that the caller gave. What the audit found or made itself may
    disprove it, and no more: some of what is mined answers the query, and few texts are edited.
    Of edits that full vectors do not tell apart themselves nothing is claimed: who guesses cannot
    get worse.
    """
    given = task.negatives == "given"
    own = [(name, limit, at_most, given) for name, limit, at_most in _limits(task.thresholds)]
    made = [(f"{name}:{EDITED}", limit, at_most, False) for name, limit, at_most, _ in own]
    if not _told_by_full(details.get("edited_documents")):
        made = []
    return tuple(
        Claim(name, metrics[name], limit, at_most, proof)
        for name, limit, at_most, proof in (*own, *made)
        if name in metrics
    )


def _told_by_full(details: Mapping[str, Any] | None) -> bool:
    """Whether full vectors are right about near misses more often than chance, beyond doubt."""
    if details is None:
        return False
    accuracy = "triplet_accuracy"
    return bool(details["full"][accuracy]["low"] > details["chance"][accuracy])


def _limits(limits: Thresholds) -> tuple[tuple[str, float, bool], ...]:
    return (
        ("net_flips", limits.net_flips, True),
        ("excess_fragility", limits.excess_fragility, False),
    )


def _floor(
    task: Task, metrics: Mapping[str, Estimate], details: Mapping[str, Any]
) -> tuple[Check, ...]:
    """Where near misses that were given leave nothing to lose, or nothing to hold it against."""
    if task.negatives != "given":
        return ()
    checks = []
    if not _told_by_full(details["hard_negatives"]):
        said = "full vectors tell the near misses apart no better than chance: who guesses keeps it"
        checks.append(Check("above chance", "warning", said))
    if "excess_fragility" not in metrics:
        said = (
            "excess fragility is not defined: positives are not told from random documents either"
        )
        checks.append(Check("excess fragility", "warning", said))
    return tuple(checks)
