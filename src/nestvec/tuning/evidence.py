"""Evidence that an index stores for a tuned plan, whatever version stored it."""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nestvec.self_match import vector_keys
from nestvec.shapes import Float32, UInt32

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


def encode_keys(keys: Sequence[int]) -> str:
    """Write the hashes of the queries as text, four bytes each.

    Every look at the catalog reads them, so they are short: of 3,000 queries and 3,000 new ones, a
    new one is mistaken for an old one in one of 500 checks.
    """
    return b64encode(np.array(keys, "<u4").tobytes()).decode("ascii")


def query_keys(queries: Float32[np.ndarray, "q dim"]) -> UInt32[np.ndarray, " q"]:
    """Hash each query to 32 bits."""
    return (vector_keys(queries) >> np.uint64(32)).astype(np.uint32)


def read_keys(evidence: Mapping[str, Any]) -> UInt32[np.ndarray, " q"]:
    """Read the hashes of the tuning queries; none from versions that did not store them."""
    return np.frombuffer(b64decode(evidence.get("query_keys", "")), "<u4").astype(np.uint32)
