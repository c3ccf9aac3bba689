"""How sure a size must be to answer, so that later sizes need not be read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nestvec.shapes import Bool, Float64, Int64
from nestvec.statistics import binomial_p, smallest_true

NEVER = 2.0
"""No probability reaches it: a size with this threshold never answers."""
_GRID = np.linspace(0.1, 1.0, 100)
"""The paper's."""
_LEVELS = np.concatenate([np.arange(0.999, 0.9, -0.001), np.arange(0.9, 0.0, -0.01)])
"""From the safest on; what is certified is one of these for all sizes."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What every size says of the same rows: how sure it is, and whether it is right."""

    sure: Float64[np.ndarray, "k n"]
    right: Bool[np.ndarray, "k n"]

    def used(self, thresholds: Sequence[float]) -> Int64[np.ndarray, " n"]:
        """The number of the size that answers each row: the first that is sure enough, or the last.

        There is one threshold per size but the last.
        """
        enough = self.sure[:-1] >= np.asarray(thresholds, dtype=np.float64)[:, None]
        always = np.ones((1, self.sure.shape[1]), dtype=bool)
        return np.asarray(np.concatenate([enough, always]).argmax(axis=0))

    def of(self, used: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Whether each row's answer is right, given by that size."""
        return np.asarray(self.right[used, np.arange(len(used))])

    def lost(self, thresholds: Sequence[float]) -> Bool[np.ndarray, " n"]:
        """The rows that full width gets right and the cascade gets wrong."""
        return np.asarray(self.right[-1] & ~self.of(self.used(thresholds)))


Chain = Callable[[Answers], tuple[float, ...]]


def pairwise_chain(answers: Answers) -> tuple[float, ...]:
    """The thresholds of MRL-AC (Kusupati et al., 2022, §4.2.1).

    For each size and the next: the least of 100 from 0.1 to 1 that makes these two together most
    accurate. What is lost to sizes beyond the next is not seen.
    """
    return tuple(
        _least_best(sure, right, following)
        for sure, right, following in zip(
            answers.sure[:-1], answers.right[:-1], answers.right[1:], strict=True
        )
    )


def backward_chain(answers: Answers) -> tuple[float, ...]:
    """From the last size but one to the first: the least of the same 100 that does best.

    Best with all that follows, as chosen before, rather than with the next size alone.
    """
    thresholds: tuple[float, ...] = ()
    following = answers.right[-1]
    for sure, right in zip(answers.sure[-2::-1], answers.right[-2::-1], strict=True):
        threshold = _least_best(sure, right, following)
        thresholds = (threshold, *thresholds)
        following = np.where(sure >= threshold, right, following)
    return thresholds


CHAINS: dict[str, Chain] = {"backward": backward_chain, "pairwise": pairwise_chain}


def _least_best(
    sure: Float64[np.ndarray, " n"],
    right: Bool[np.ndarray, " n"],
    following: Bool[np.ndarray, " n"],
) -> float:
    together = np.where(sure >= _GRID[:, None], right, following).mean(axis=1)
    return float(_GRID[together.argmax()])  # the first, hence the least, of equally good ones


@dataclass(frozen=True, slots=True)
class Certificate:
    """With `confidence`, at most a share `alpha` of rows to come is lost: right at full width only.

    So accuracy is within `alpha` of full width's. `lost` of `n` rows were that at the threshold
    taken, and `p_value` is of "more than `alpha` are". `needed`: how many rows it takes to certify
    any threshold if none of them is lost; fewer leave full width to answer all.
    """

    alpha: float
    confidence: float
    n: int
    lost: int
    p_value: float
    needed: int

    @property
    def shown(self) -> bool:
        """Whether a cascade is certified, other than reading everything of every row."""
        return self.p_value <= 1 - self.confidence


def certified(
    answers: Answers, alpha: float, confidence: float
) -> tuple[tuple[float, ...], Certificate]:
    """The least threshold, one for all sizes, that is certified on rows nothing was fitted on.

    Learn then Test with a fixed sequence (Angelopoulos et al., 2110.01052): thresholds fall from
    .999 on until the exact binomial test first fails, and the last that passed is taken. Reading
    full width of every row loses nothing, so that is what is left where the first fails.
    """
    n, sizes = answers.sure.shape[1], len(answers.sure) - 1
    taken, best = (NEVER,) * sizes, (0, 1.0)
    for level in _LEVELS:
        thresholds = (float(level),) * sizes
        lost = int(answers.lost(thresholds).sum())
        p_value = binomial_p(lost, n, alpha)
        if p_value > 1 - confidence:
            break
        taken, best = thresholds, (lost, p_value)
    needed = smallest_true(lambda rows: binomial_p(0, rows, alpha) <= 1 - confidence)
    return taken, Certificate(alpha, confidence, n, *best, needed)
