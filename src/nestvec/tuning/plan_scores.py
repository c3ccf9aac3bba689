"""Scores of a plan, query by query, by the measure that a guarantee is about."""

from typing import NamedTuple

import numpy as np

from nestvec.plan import Plan
from nestvec.shapes import Float64
from nestvec.tuning.ground_truth import GroundTruth
from nestvec.tuning.guarantee import Guarantee

_BYTES = np.dtype(np.float32).itemsize


class PlanScores(NamedTuple):
    """The measure attained by a plan on each query, from 0 to 1, and the bytes read per query."""

    attained: Float64[np.ndarray, " q"]
    bytes_per_query: float


def measure_plan(ground_truth: GroundTruth, guarantee: Guarantee, plan: Plan) -> PlanScores:
    """Measure `plan` on all queries.

    A shortlist is reranked elsewhere, so each of its rows is charged a full vector.
    """
    rows = guarantee.rows(plan)
    hits, bytes_per_query = ground_truth.search(plan, rows)
    if guarantee.measure == "ndcg":
        loss = ground_truth.exact_ndcg - ground_truth.ndcg(hits)
        return PlanScores(1 - np.maximum(loss, 0), bytes_per_query)
    if guarantee.measure == "shortlist_recall":
        bytes_per_query += _BYTES * ground_truth.index.dim * rows
    return PlanScores(ground_truth.recall(hits), bytes_per_query)
