"""The families of checks: each is asked once per variant, and knows when it has nothing to say."""

from nestvec.audit.exact import Exact
from nestvec.audit.families.answers import Fidelity, Relevance
from nestvec.audit.families.classes import FewShot
from nestvec.audit.families.corpus import Growth, Poisoning
from nestvec.audit.families.family import Family
from nestvec.audit.families.near_misses import EditedDocuments, NearMisses
from nestvec.audit.families.queries import Disturbed, Slices, Strangers

__all__ = ["Family", "families"]

_ALL: tuple[type[Family], ...] = (
    Fidelity, Relevance, NearMisses, EditedDocuments, Growth, Slices, Disturbed, Strangers,
    Poisoning, FewShot,
)  # fmt: skip


def families(exact: Exact) -> tuple[Family, ...]:
    """Those that the task has something for."""
    ready = (family.of(exact) for family in _ALL)
    return tuple(family for family in ready if family is not None)
