"""The queries that lose most, with what was answered before and after."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nestvec.audit.model import K
from nestvec.metrics import Id
from nestvec.shapes import Float64, Int64

SHOWN = 20


def worst_queries(
    before: Float64[np.ndarray, " q"],
    after: Float64[np.ndarray, " q"],
    rankings: tuple[Int64[np.ndarray, "q k"], Int64[np.ndarray, "q k"]],
    names: tuple[Sequence[Id], Sequence[Id]],
) -> list[dict[str, Any]]:
    """Up to 20 queries that lose, the largest loss first; equal ones in the order of queries.

    `rankings` are the rows found by full vectors and by the variant; `names` what queries and
    documents are called.
    """
    query_ids, ids = names
    losses = before - after
    order = np.argsort(-losses, kind="stable")[:SHOWN]
    full, found = rankings
    return [
        {
            "query": query_ids[row],
            "before": float(before[row]),
            "after": float(after[row]),
            "full": [ids[answer] for answer in full[row, :K]],
            "variant": [ids[answer] for answer in found[row, :K]],
        }
        for row in order[losses[order] > 0]
    ]
