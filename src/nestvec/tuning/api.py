"""`tune` and `check`; what does the work is loaded when they are called."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from nestvec.index import Index
from nestvec.metrics import Id, Qrels
from nestvec.plan import Plan
from nestvec.progress import Progress, silent

if TYPE_CHECKING:
    from nestvec.tuning.drift import Drift
    from nestvec.tuning.tuned import Tuned


def tune(  # noqa: PLR0913  one call says all about a promise
    index: Index,
    queries: ArrayLike,
    *,
    recall: float | None = None,
    all: float | None = None,
    containment: float | None = None,
    ndcg: float | None = None,
    qrels: Qrels | None = None,
    query_ids: Sequence[Id] | np.ndarray | None = None,
    confidence: float = 0.95,
    k: int = 10,
    plans: Sequence[str | Plan] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> "Tuned":
    """The plan that reads least of those that are shown to keep one promise about `k` answers.

    Of queries to come, with `confidence`: their mean `recall` is at least so much (.99 where no
    promise is named); such a share has `all` k found; for such a share the shortlist that the plan
    leaves for others to rerank has all k (`containment`); or, with 1 − `ndcg`, that much of nDCG@k
    is lost at most on average (`Promise` says it exactly). `ndcg` needs `qrels`, by the ids of the
    index and `query_ids` (None: row numbers); queries without a relevant document are left out.

    `queries` [q, dim] are held-out ones, such as will be asked: hundreds for .95, a thousand or
    more for .99. A quarter of them (500 at most) put `plans` (None: a grid around the default) in
    order, the others certify them; both are compared with `search(exact=True)`. Too few queries
    give a verdict and the number that is needed. Equal input and `seed` give an equal result.
    `.save(index)` keeps it.
    """
    from nestvec.tuning.guarantee import Promise
    from nestvec.tuning.queries import Asked
    from nestvec.tuning.tuner import run

    targets = {"recall": recall, "all": all, "containment": containment, "ndcg": ndcg}
    promise = Promise.choose(k, confidence, targets)
    return run(index, Asked(queries, qrels, query_ids), promise, plans, seed, progress)


def check(
    index: Index,
    queries: ArrayLike,
    k: int = 10,
    *,
    qrels: Qrels | None = None,
    query_ids: Sequence[Id] | np.ndarray | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> "Drift":
    """Whether new `queries` [q, dim] still bear out what the plan for `k` rows was tuned for.

    `InputError` if none is kept. Also a plan that the index no longer uses is checked, on the rows
    that are there now. For a shortlist `k` is its length; for nDCG `qrels` are as in `tune`.
    """
    from nestvec.tuning.drift import run
    from nestvec.tuning.queries import Asked

    return run(index, Asked(queries, qrels, query_ids), k, seed, progress)
