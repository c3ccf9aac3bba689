"""Tuned plans in the catalog: by how many rows they find, with what shows that they are safe.

Each says for which rows, coded how, that was shown. The catalog keeps a plan for as long as nobody
replaces it; it is used only while the index holds just these.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nestvec.index.storage.manifest import Manifest
from nestvec.plan import Plan

_KEY = "tuned"


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A plan, whether it was shown to be safe for the rows that are there now, and by what."""

    plan: Plan
    current: bool
    evidence: Mapping[str, Any]


def stored_plans(contents: Manifest) -> dict[int, StoredPlan]:
    """The tuned plans that an index keeps, by `k`."""
    kept = contents.meta.get(_KEY, {})
    now = contents.rows_checksum() if kept else None
    return {
        int(k): StoredPlan(Plan.parse(one["plan"]), one["rows"] == now, one["evidence"])
        for k, one in kept.items()
    }


def with_stored_plan(
    contents: Manifest, k: int, plan: Plan, evidence: Mapping[str, Any]
) -> Manifest:
    """The next generation: the same rows, and a plan for `k` that is safe for them."""
    one = {"plan": str(plan), "rows": contents.rows_checksum(), "evidence": evidence}
    kept = {**contents.meta.get(_KEY, {}), str(k): one}
    meta = {**contents.meta, "generation": contents.generation + 1, _KEY: kept}
    return replace(contents, meta=meta)
