"""How well a plan serves each query, by the measure that a promise is about."""

from typing import NamedTuple

import numpy as np

from nestvec.plan import Plan
from nestvec.shapes import Float64
from nestvec.tuning.ground_truth import Questions
from nestvec.tuning.guarantee import Promise

_BYTES = np.dtype(np.float32).itemsize


class Measured(NamedTuple):
    """How far a plan serves each query, from 0 to 1, and what that costs."""

    served: Float64[np.ndarray, " q"]
    bytes_per_query: float


def measure(questions: Questions, promise: Promise, plan: Plan) -> Measured:
    """`plan` on all the queries.

    A shortlist is reranked elsewhere: each of its rows costs what its full vector would.
    """
    rows = promise.rows(plan)
    found, read = questions.find(plan, rows)
    if promise.loss == "ndcg":
        lost = questions.exact_ndcg - questions.ndcg(found)
        return Measured(1 - np.maximum(lost, 0), read)
    if promise.loss == "containment":
        read += _BYTES * questions.index.dim * rows
    return Measured(questions.recalls(found), read)
