"""Evidence that an index stores for a tuned plan, whatever version stored it."""

from collections.abc import Mapping
from typing import Any

_RENAMED_KEYS = {
    "promise": "guarantee",
    "loss": "measure",
    "served": "attained",
    "needed": "queries_needed",
    "optimistic": "n_self_matches",
}
_RENAMED_VALUES = {
    "measure": {"all": "perfect_recall", "containment": "shortlist_recall"},
    "verdict": {"CERTIFIED": "GUARANTEED"},
}
"""Keys and values that indexes hold which were tuned before version 0.2."""


def with_current_names(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Copy evidence with the names of today: `TunedPlan.to_json` describes them."""
    renamed = {_RENAMED_KEYS.get(key, key): value for key, value in evidence.items()}
    for key, values in _RENAMED_VALUES.items():
        if key in renamed:
            renamed[key] = values.get(renamed[key], renamed[key])
    if "evidence" in renamed:
        renamed["evidence"] = [with_current_names(test) for test in renamed["evidence"]]
    return renamed
