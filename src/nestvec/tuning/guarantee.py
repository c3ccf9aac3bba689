"""What is promised of a plan, and what a sample of queries says of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nestvec.errors import InputError, PlanError
from nestvec.plan import Plan
from nestvec.shapes import Float64
from nestvec.statistics import (
    Estimate,
    betting_p,
    binomial_p,
    bootstrap_mean,
    fewest,
    largest_mean_loss,
    proportion,
)

LOSSES = ("recall", "all", "containment", "ndcg")
_YES_OR_NO = ("all", "containment")
"""A query is served or not: these are shares, tested exactly."""
_DEFAULT = ("recall", 0.99)
_MOST_NEEDED = 1 << 20
"""To need more queries than that is to need another target."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Of queries to come, with what is found by a search against `search(exact=True)`:

    - "recall": the mean recall@`k` is at least `target`; what scores as the k-th counts as found.
    - "all": the share of queries whose exact top `k` is found whole is at least `target`.
    - "containment": the share of queries whose exact top `k` is among the rows that the plan's last
      stage keeps, for others to rerank, is at least `target`.
    - "ndcg": the mean of max(0, exact search's nDCG@`k` − the plan's) is at most 1 − `target`. So
      the plan's mean is at least exact search's less that; gains elsewhere make up for nothing.

    Whatever queries are like and however many are sampled, it is made in vain for at most
    1 − `confidence` of all samples. What voids it: `nestvec.tuning.tuned.ASSUMPTIONS`.
    """

    k: int = 10
    target: float = 0.99
    confidence: float = 0.95
    loss: str = "recall"

    def __post_init__(self) -> None:
        if not (0 < self.target < 1 and 0.5 < self.confidence < 1):
            raise InputError(
                f"target={self.target} at confidence={self.confidence} cannot be shown by a "
                "sample; use a target between 0 and 1 (exact=True is for what must never be "
                "missed) and a confidence between 0.5 and 1"
            )
        if self.loss not in LOSSES:
            raise InputError(f"loss={self.loss!r} is not one of {', '.join(LOSSES)}")

    @classmethod
    def choose(cls, k: int, confidence: float, targets: Mapping[str, float | None]) -> "Promise":
        """The one that has a target; recall of .99 where none has. `InputError` for several."""
        given = [(loss, target) for loss, target in targets.items() if target is not None]
        if len(given) > 1:
            names = " and ".join(loss for loss, _ in given)
            raise InputError(f"{names} are promises of their own; tune for one of them")
        loss, target = given[0] if given else _DEFAULT
        return cls(k, target, confidence, loss)

    def __str__(self) -> str:
        said = {
            "recall": f"recall@{self.k} >= {self.target:g}",
            "all": f"queries with all {self.k} found >= {self.target:g}",
            "containment": f"queries with all {self.k} in the shortlist >= {self.target:g}",
            "ndcg": f"mean loss of nDCG@{self.k} <= {1 - self.target:.6g}",
        }
        return f"{said[self.loss]} at {self.confidence:.4g} confidence"

    @property
    def delta(self) -> float:
        """How often the promise may be wrong."""
        return 1 - self.confidence

    def rows(self, plan: Plan) -> int:
        """How many rows a search by `plan` asks for: `k`, or the whole shortlist."""
        if self.loss != "containment":
            return self.k
        if plan.full or not plan.stages:
            raise PlanError(f"'{plan}' leaves no shortlist; end it with a stage such as 256x1:100")
        return plan.stages[-1].keep

    def kept(self, served: Float64[np.ndarray, " q"]) -> Float64[np.ndarray, " q"]:
        """What has to reach the target on average, from 0 to 1, by how far queries are served."""
        return np.asarray(served == 1, np.float64) if self.loss in _YES_OR_NO else served

    def p_missed(self, kept: Float64[np.ndarray, " q"]) -> float:
        """The p-value of "the target is missed": up to `delta`, it is reached for sure enough."""
        return self._p(1 - kept, 1 - self.target)

    def p_reached(self, kept: Float64[np.ndarray, " q"]) -> float:
        """The p-value of "the target is reached": up to `delta`, it is missed for sure enough."""
        return self._p(kept, self.target)

    def _p(self, losses: Float64[np.ndarray, " q"], alpha: float) -> float:
        """The p-value of "these are above `alpha` on average"."""
        if self.loss in _YES_OR_NO:
            return binomial_p(round(losses.sum()), len(losses), alpha)
        return betting_p(losses, alpha, self.confidence)

    def lower_bound(self, kept: Float64[np.ndarray, " q"]) -> float:
        """The one-sided bound that the same test gives."""
        if self.loss in _YES_OR_NO:
            return proportion(round(kept.sum()), len(kept), 1 - 2 * self.delta).low
        return 1 - largest_mean_loss(1 - kept, self.confidence)

    def estimate(self, kept: Float64[np.ndarray, " q"], rng: np.random.Generator) -> Estimate:
        """The mean with a two-sided interval at the same confidence."""
        # A bootstrap of equal values has no width.
        if self.loss in _YES_OR_NO or kept.min() == 1:
            return proportion(round(kept.sum()), len(kept), self.confidence)
        return bootstrap_mean(kept, rng, self.confidence)

    def queries_needed(self, kept: Float64[np.ndarray, " q"]) -> int | None:
        """The fewest queries that would show the target, served as these are, over and over.

        None where not even a million would.
        """
        risk, alpha = float((1 - kept).mean()), 1 - self.target
        if risk >= alpha:
            return None
        if self.loss in _YES_OR_NO:
            return fewest(lambda n: binomial_p(round(risk * n), n, alpha) <= self.delta)
        needed = fewest(lambda n: self.p_missed(np.resize(kept, n)) <= self.delta, _MOST_NEEDED)
        return needed if needed < _MOST_NEEDED else None

    def to_json(self) -> dict[str, Any]:
        """Its values by name."""
        return asdict(self)
