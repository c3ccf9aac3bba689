"""`tune` and `check`; what does the work is loaded when they are called."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from nestvec.index import Index
from nestvec.plan import Plan
from nestvec.progress import Progress, silent

if TYPE_CHECKING:
    from nestvec.tune.drift import Drift
    from nestvec.tune.tuned import Tuned


def tune(  # noqa: PLR0913  one call says all about a promise
    index: Index,
    queries: ArrayLike,
    *,
    recall: float = 0.99,
    confidence: float = 0.95,
    k: int = 10,
    loss: str = "recall",
    plans: Sequence[str | Plan] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> "Tuned":
    """The plan that reads least of those whose recall@`k` is shown to be at least `recall`.

    `queries` [q, dim] are held-out ones, such as will be asked: hundreds for .95, a thousand or
    more for .99. A quarter of them (500 at most) put `plans` (None: a grid around the default) in
    order, the others certify them; both are compared with `search(exact=True)`. With `confidence`
    the mean recall of the plan over queries to come is at least `recall` (or, with `loss` "all",
    the share of queries whose top `k` is found whole). Too few queries give a verdict and the
    number that is needed. Equal input and `seed` give an equal result. `.save(index)` keeps it.
    """
    from nestvec.tune.promise import Promise
    from nestvec.tune.tuner import run

    return run(index, queries, Promise(k, recall, confidence, loss), plans, seed, progress)


def check(
    index: Index, queries: ArrayLike, k: int = 10, *, seed: int = 0, progress: Progress = silent
) -> "Drift":
    """Whether new `queries` [q, dim] still bear out what the plan kept for `k` was tuned for.

    `InputError` if none is kept. Also a plan that the index no longer uses is checked, on the rows
    that are there now.
    """
    from nestvec.tune.drift import run

    return run(index, queries, k, seed, progress)
