"""The families of checks: each is asked once per variant, and knows when it has nothing to say."""

from nestvec.auditing.baseline import Exact
from nestvec.auditing.checks.check import Family
from nestvec.auditing.checks.corpus import Growth, Poisoning
from nestvec.auditing.checks.few_shot import FewShot
from nestvec.auditing.checks.hard_negatives import EditedDocuments, NearMisses
from nestvec.auditing.checks.quality import Fidelity, Relevance
from nestvec.auditing.checks.queries import Disturbed, Slices, Strangers

__all__ = ["Family", "families"]

_ALL: tuple[type[Family], ...] = (
    Fidelity, Relevance, NearMisses, EditedDocuments, Growth, Slices, Disturbed, Strangers,
    Poisoning, FewShot,
)  # fmt: skip


def families(exact: Exact) -> tuple[Family, ...]:
    """Those that the task has something for."""
    ready = (family.of(exact) for family in _ALL)
    return tuple(family for family in ready if family is not None)
