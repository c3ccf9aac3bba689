"""Guarantees about a plan, and their tests on a sample of queries."""

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
    mean_loss_upper_bound,
    proportion,
    smallest_true,
)
from nestvec.tuning.evidence import with_current_names
from nestvec.tuning.targets import Targets, one_target

MEASURES = tuple(Targets.__annotations__)
_SHARES = ("perfect_recall", "shortlist_recall")
"""Shares of the queries that pass, tested by the exact binomial test."""
_MAX_NEEDED = 1 << 20
"""A target that takes more queries than this to show is no practical target."""


@dataclass(frozen=True, slots=True)
class Guarantee:
    """A statement about queries to come, compared with `search(exact=True)` on the same rows.

    - "recall": the mean recall@`k` is at least `target`; rows that tie with the k-th count as hits.
    - "perfect_recall": the share of queries whose recall@`k` is 1 is at least `target`.
    - "shortlist_recall": the share of queries whose exact top `k` is among the rows that the plan's
      last stage keeps, for a rerank elsewhere, is at least `target`.
    - "ndcg": the mean of max(0, nDCG@`k` of exact search − nDCG@`k` of the plan) is at most
      1 − `target`; a gain on one query makes up for no loss on another.

    Whatever the queries are like and however many are sampled, the statement is wrong for at most
    1 − `confidence` of all samples, under the conditions in `nestvec.tuning.tuned.ASSUMPTIONS`.
    """

    k: int = 10
    target: float = 0.99
    confidence: float = 0.95
    measure: str = "recall"

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, int | np.integer) or self.k < 1:
            raise InputError(f"k={self.k!r} is not a whole number of at least 1; pass one, say 10")
        for name in ("target", "confidence"):
            if not isinstance(getattr(self, name), float | int | np.number):
                raise InputError(f"{name}={getattr(self, name)!r} is not a number; use one below 1")
        if not (0 < self.target < 1 and 0.5 < self.confidence < 1):
            raise InputError(
                f"target={self.target} at confidence={self.confidence} cannot be shown by a "
                "sample; use a target between 0 and 1 (for certainty search with exact=True) and a "
                "confidence between 0.5 and 1"
            )
        if self.measure not in MEASURES:
            raise InputError(
                f"measure={self.measure!r} is not known; use one of {', '.join(MEASURES)}"
            )

    @classmethod
    def from_targets(cls, k: int, confidence: float, targets: Targets) -> "Guarantee":
        """Build the guarantee of the one measure that has a target; recall .99 where none has.

        `InputError` where several have one, and for a target that is not known.
        """
        measure, target = one_target(targets)
        return cls(k, target, confidence, measure)

    @classmethod
    def from_evidence(cls, evidence: Mapping[str, Any]) -> "Guarantee":
        """Read the guarantee from evidence that an index stores, also of older versions."""
        current = with_current_names(evidence)
        return cls(*(current[name] for name in ("k", "target", "confidence", "measure")))

    def __str__(self) -> str:
        statement = {
            "recall": f"recall@{self.k} >= {self.target:g}",
            "perfect_recall": f"queries with recall@{self.k} of 1 >= {self.target:g}",
            "shortlist_recall": f"queries with all {self.k} in the shortlist >= {self.target:g}",
            "ndcg": f"mean loss of nDCG@{self.k} <= {1 - self.target:.6g}",
        }
        return f"{statement[self.measure]} at {self.confidence:.4g} confidence"

    @property
    def delta(self) -> float:
        """The share of samples for which the statement may be wrong: 1 − `confidence`."""
        return 1 - self.confidence

    def rows(self, plan: Plan) -> int:
        """Count the rows that a search by `plan` returns: `k`, or the whole shortlist."""
        if self.measure != "shortlist_recall":
            return self.k
        if plan.full or not plan.stages:
            raise PlanError(f"'{plan}' leaves no shortlist; end it with a stage such as 256x1:100")
        return plan.stages[-1].keep

    def scores(self, attained: Float64[np.ndarray, " q"]) -> Float64[np.ndarray, " q"]:
        """Turn what each query attained into a score in [0, 1]; the mean must reach the target."""
        return np.asarray(attained == 1, np.float64) if self.measure in _SHARES else attained

    def p_below(self, scores: Float64[np.ndarray, " q"]) -> float:
        """The p-value of the hypothesis that the mean is below the target.

        Up to `delta` the hypothesis is rejected: the guarantee holds.
        """
        return self._p(1 - scores, 1 - self.target)

    def p_above(self, scores: Float64[np.ndarray, " q"]) -> float:
        """The p-value of the hypothesis that the mean is at or above the target.

        Up to `delta` the hypothesis is rejected: the guarantee is broken.
        """
        return self._p(scores, self.target)

    def _p(self, losses: Float64[np.ndarray, " q"], alpha: float) -> float:
        """The p-value of the hypothesis that the mean loss is above `alpha`."""
        if self.measure in _SHARES:
            return binomial_p(round(losses.sum()), len(losses), alpha)
        return betting_p(losses, alpha, self.confidence)

    def lower_bound(self, scores: Float64[np.ndarray, " q"]) -> float:
        """The one-sided confidence bound of the mean, by the same test."""
        if self.measure in _SHARES:
            return proportion(round(scores.sum()), len(scores), 1 - 2 * self.delta).low
        return 1 - mean_loss_upper_bound(1 - scores, self.confidence)

    def estimate(self, scores: Float64[np.ndarray, " q"], rng: np.random.Generator) -> Estimate:
        """The mean with a two-sided interval at the same confidence."""
        # A bootstrap of equal values has no width.
        if self.measure in _SHARES or scores.min() == 1:
            return proportion(round(scores.sum()), len(scores), self.confidence)
        return bootstrap_mean(scores, rng, self.confidence)

    def queries_needed(self, scores: Float64[np.ndarray, " q"]) -> int | None:
        """The fewest queries that would show the target if they scored like these.

        None where not even a million would.
        """
        risk, alpha = float((1 - scores).mean()), 1 - self.target
        if risk >= alpha:
            return None
        if self.measure in _SHARES:
            return smallest_true(lambda n: binomial_p(round(risk * n), n, alpha) <= self.delta)
        needed = smallest_true(
            lambda n: self.p_below(np.resize(scores, n)) <= self.delta, _MAX_NEEDED
        )
        return needed if needed < _MAX_NEEDED else None

    def to_json(self) -> dict[str, Any]:
        """Return its values by name."""
        return asdict(self)
