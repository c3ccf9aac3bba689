"""Tuned plans in the catalog, by `k`, with the evidence for their guarantee.

Each names the rows, and their codes, that it was tuned for. The catalog stores a plan until another
replaces it; searches use it only while the index holds just these rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nestvec.index.storage.manifest import Manifest
from nestvec.plan import Plan

_KEY = "tuned"


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A tuned plan, whether it was tuned for the current rows, and its evidence."""

    plan: Plan
    current: bool
    evidence: Mapping[str, Any]


def stored_plans(manifest: Manifest) -> dict[int, StoredPlan]:
    """Read the tuned plans that an index stores, by `k`."""
    entries = manifest.meta.get(_KEY, {})
    current_rows = manifest.rows_checksum() if entries else None
    return {
        int(k): StoredPlan(
            Plan.parse(entry["plan"]), entry["rows"] == current_rows, entry["evidence"]
        )
        for k, entry in entries.items()
    }


def with_stored_plan(
    manifest: Manifest, k: int, plan: Plan, evidence: Mapping[str, Any]
) -> Manifest:
    """Build the next generation: the same rows, with a plan for `k` tuned on them."""
    entry = {"plan": str(plan), "rows": manifest.rows_checksum(), "evidence": evidence}
    entries = {**manifest.meta.get(_KEY, {}), str(k): entry}
    meta = {**manifest.meta, "generation": manifest.generation + 1, _KEY: entries}
    return replace(manifest, meta=meta)
