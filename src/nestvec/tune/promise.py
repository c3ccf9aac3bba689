"""What is promised of a plan, and what a sample of queries says of it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nestvec.errors import InputError
from nestvec.shapes import Float64
from nestvec.statistics import (
    Estimate,
    binomial_p,
    bootstrap_mean,
    fewest,
    hoeffding_bentkus,
    largest_mean_loss,
    proportion,
)

LOSSES = ("recall", "all")


@dataclass(frozen=True, slots=True)
class Promise:
    """The mean recall@`k` of queries to come is at least `target`.

    For the loss "all": the share of queries whose exact top `k` is found whole. Whatever queries
    are like and however many are sampled, it is made in vain for at most 1 − `confidence` of all
    samples. What voids it is listed in `nestvec.tune.tuned.ASSUMPTIONS`.
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

    def __str__(self) -> str:
        what = f"recall@{self.k}" if self.loss == "recall" else f"queries with all {self.k} found"
        return f"{what} >= {self.target:g} at {self.confidence:.4g} confidence"

    @property
    def delta(self) -> float:
        """How often the promise may be wrong."""
        return 1 - self.confidence

    def kept(self, recalls: Float64[np.ndarray, " q"]) -> Float64[np.ndarray, " q"]:
        """How far each query is served: what has to reach the target on average, from 0 to 1."""
        return recalls if self.loss == "recall" else np.asarray(recalls == 1, np.float64)

    def p_missed(self, kept: Float64[np.ndarray, " q"]) -> float:
        """The p-value of "the target is missed": up to `delta`, it is reached for sure enough."""
        return self._p(1 - kept, 1 - self.target)

    def p_reached(self, kept: Float64[np.ndarray, " q"]) -> float:
        """The p-value of "the target is reached": up to `delta`, it is missed for sure enough."""
        return self._p(kept, self.target)

    def _p(self, losses: Float64[np.ndarray, " q"], alpha: float) -> float:
        """The p-value of "these are above `alpha` on average"."""
        n = len(losses)
        if self.loss == "all":
            return binomial_p(round(losses.sum()), n, alpha)
        return hoeffding_bentkus(float(losses.mean()), n, alpha)

    def lower_bound(self, kept: Float64[np.ndarray, " q"]) -> float:
        """The one-sided bound that the same test gives."""
        n = len(kept)
        if self.loss == "all":
            return proportion(round(kept.sum()), n, 1 - 2 * self.delta).low
        return 1 - largest_mean_loss(float((1 - kept).mean()), n, self.confidence)

    def estimate(self, kept: Float64[np.ndarray, " q"], rng: np.random.Generator) -> Estimate:
        """The mean with a two-sided interval at the same confidence."""
        if self.loss == "all" or kept.min() == 1:  # a bootstrap of equal values has no width
            return proportion(round(kept.sum()), len(kept), self.confidence)
        return bootstrap_mean(kept, rng, self.confidence)

    def queries_needed(self, kept: Float64[np.ndarray, " q"]) -> int | None:
        """The fewest queries that would show the target, served as these are; None: none would."""
        risk, alpha = float((1 - kept).mean()), 1 - self.target
        if risk >= alpha:
            return None
        if self.loss == "recall":
            return fewest(lambda n: hoeffding_bentkus(risk, n, alpha) <= self.delta)
        return fewest(lambda n: binomial_p(round(risk * n), n, alpha) <= self.delta)

    def to_json(self) -> dict[str, Any]:
        """Its values by name."""
        return asdict(self)
