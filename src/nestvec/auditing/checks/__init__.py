"""Checks of an audit: each measures one aspect of every variant that it applies to."""

from nestvec.auditing.baseline import Baseline
from nestvec.auditing.checks.check import Check
from nestvec.auditing.checks.corpus import GrowthCheck, PoisoningCheck
from nestvec.auditing.checks.few_shot import FewShotCheck
from nestvec.auditing.checks.hard_negatives import CounterfactualCheck, HardNegativeCheck
from nestvec.auditing.checks.quality import FidelityCheck, RelevanceCheck
from nestvec.auditing.checks.queries import OutOfDistributionCheck, PerturbationCheck, SliceCheck

__all__ = ["Check", "applicable_checks"]

_CHECKS: tuple[type[Check], ...] = (
    FidelityCheck, RelevanceCheck, HardNegativeCheck, CounterfactualCheck, GrowthCheck, SliceCheck,
    PerturbationCheck, OutOfDistributionCheck, PoisoningCheck, FewShotCheck,
)  # fmt: skip


def applicable_checks(baseline: Baseline) -> tuple[Check, ...]:
    """Prepare the checks that the inputs of an audit have data for."""
    checks = (check.prepare(baseline) for check in _CHECKS)
    return tuple(check for check in checks if check is not None)
