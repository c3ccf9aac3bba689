"""`nestvec.tune` and `nestvec.check_drift`; their machinery is loaded when they are called."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import Unpack

from nestvec.deprecation import renamed_arguments
from nestvec.index import Index
from nestvec.metrics import Id, Qrels
from nestvec.plan import Plan
from nestvec.progress import Progress, silent
from nestvec.tuning.targets import Targets

if TYPE_CHECKING:
    from nestvec.tuning.drift import DriftReport
    from nestvec.tuning.tuned import TunedPlan


@renamed_arguments({"all": "perfect_recall", "containment": "shortlist_recall"})
def tune(  # noqa: PLR0913  a call says all about a guarantee
    index: Index,
    queries: ArrayLike,
    *,
    qrels: Qrels | None = None,
    query_ids: Sequence[Id] | np.ndarray | None = None,
    confidence: float = 0.95,
    k: int = 10,
    plans: Sequence[str | Plan] | None = None,
    seed: int = 0,
    progress: Progress = silent,
    **target: Unpack[Targets],
) -> "TunedPlan":
    """Find the cheapest plan that has a guarantee about the top `k` of queries to come.

    Name one target. With `confidence`, of queries to come: the mean `recall` is at least that
    (.99 where no target is named); that share of them has recall 1 (`perfect_recall`); for that
    share the plan's shortlist, to be reranked elsewhere, holds the exact top k
    (`shortlist_recall`); or at most 1 − `ndcg` of nDCG@k is lost on average. `Guarantee` has the
    exact statements. `ndcg` needs `qrels` keyed by `query_ids` (None: positions) and by the ids of
    the index; queries without a relevant document are left out.

    `queries` [q, dim] are held out and like those to come: hundreds for .95, a thousand or more for
    .99. A quarter of them, 500 at most, order the `plans` (None: a grid around the default), and
    the others test them in that order; the ground truth is `search(exact=True)`. Too few queries
    give the verdict INSUFFICIENT DATA and the number that is needed. Equal input and `seed` give an
    equal result. `.save(index)` makes the plan the index's default for `k`.

    `InputError` for a target that is unknown or cannot be shown, and for several at once.
    """
    from nestvec.tuning.guarantee import Guarantee
    from nestvec.tuning.queries import EvaluationQueries
    from nestvec.tuning.tuner import tune_plan

    guarantee = Guarantee.from_targets(k, confidence, target)
    evaluation = EvaluationQueries(queries, qrels, query_ids)
    return tune_plan(index, evaluation, guarantee, plans, seed, progress)


def check_drift(
    index: Index,
    queries: ArrayLike,
    k: int = 10,
    *,
    qrels: Qrels | None = None,
    query_ids: Sequence[Id] | np.ndarray | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> "DriftReport":
    """Check on new `queries` [q, dim] whether the guarantee of the stored plan for `k` holds.

    `InputError` if the index stores no plan for `k`. A plan that the index no longer uses is
    checked too, on the rows that are there now. For a shortlist `k` is its length; for nDCG `qrels`
    are as in `tune`.
    """
    from nestvec.tuning import drift
    from nestvec.tuning.queries import EvaluationQueries

    evaluation = EvaluationQueries(queries, qrels, query_ids)
    return drift.check_drift(index, evaluation, k, seed, progress)
