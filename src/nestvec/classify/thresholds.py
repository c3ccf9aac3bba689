"""Exit thresholds: the probability at which a classifier answers and wider ones are not read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nestvec.deprecation import renamed_attributes, renamed_fields
from nestvec.shapes import Bool, Float64, Int64
from nestvec.statistics import binomial_p, smallest_true

NEVER = 2.0
"""A threshold that no probability reaches: its classifier never answers."""
_GRID = np.linspace(0.1, 1.0, 100)
"""The thresholds of the MRL paper."""
_LEVELS = np.concatenate([np.arange(0.999, 0.9, -0.001), np.arange(0.9, 0.0, -0.01)])
"""The thresholds that a guarantee is tested at, from the safest on."""


@dataclass(frozen=True, slots=True, eq=False)
class PrefixPredictions:
    """The predictions of every classifier for the same rows: probability, and correct or not."""

    probability: Float64[np.ndarray, "k n"]
    """The probability of the predicted label."""
    correct: Bool[np.ndarray, "k n"]

    def exit_index(self, thresholds: Sequence[float]) -> Int64[np.ndarray, " n"]:
        """Return the number of the classifier that answers each row.

        It is the first that reaches its threshold, or the last. There is one threshold per
        classifier but the last.
        """
        exits = self.probability[:-1] >= np.asarray(thresholds, dtype=np.float64)[:, None]
        always = np.ones((1, self.probability.shape[1]), dtype=bool)
        return np.asarray(np.concatenate([exits, always]).argmax(axis=0))

    def correct_at(self, exit_index: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Tell whether each row's label is correct, as predicted by the classifier of its exit."""
        return np.asarray(self.correct[exit_index, np.arange(len(exit_index))])

    def lost(self, thresholds: Sequence[float]) -> Bool[np.ndarray, " n"]:
        """Mark the rows that are correct at full width and wrong by the cascade."""
        return np.asarray(self.correct[-1] & ~self.correct_at(self.exit_index(thresholds)))


ThresholdSearch = Callable[[PrefixPredictions], tuple[float, ...]]
"""Chooses the exit thresholds of all classifiers but the last, from their predictions."""


def pairwise_thresholds(predictions: PrefixPredictions) -> tuple[float, ...]:
    """Choose thresholds as MRL-AC does (Kusupati et al., 2022, §4.2.1).

    For each classifier and the next: the smallest of 100 from 0.1 to 1 at which these two together
    are most accurate. Losses to classifiers beyond the next are not seen.
    """
    return tuple(
        _smallest_best(probability, correct, next_correct)
        for probability, correct, next_correct in zip(
            predictions.probability[:-1],
            predictions.correct[:-1],
            predictions.correct[1:],
            strict=True,
        )
    )


def backward_thresholds(predictions: PrefixPredictions) -> tuple[float, ...]:
    """Choose thresholds from the last classifier but one to the first.

    Each is the smallest of the same 100 at which its classifier is most accurate together with all
    that follow, at their chosen thresholds.
    """
    thresholds: tuple[float, ...] = ()
    following = predictions.correct[-1]
    for probability, correct in zip(
        predictions.probability[-2::-1], predictions.correct[-2::-1], strict=True
    ):
        threshold = _smallest_best(probability, correct, following)
        thresholds = (threshold, *thresholds)
        following = np.where(probability >= threshold, correct, following)
    return thresholds


THRESHOLD_SEARCHES: dict[str, ThresholdSearch] = {
    "backward": backward_thresholds,
    "pairwise": pairwise_thresholds,
}


def _smallest_best(
    probability: Float64[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    following: Bool[np.ndarray, " n"],
) -> float:
    accuracy = np.where(probability >= _GRID[:, None], correct, following).mean(axis=1)
    return float(_GRID[accuracy.argmax()])  # the first, hence the smallest, of equally good ones


@renamed_fields({"needed": "rows_needed"})
@dataclass(frozen=True, slots=True)
class AccuracyGuarantee:
    """A statement about rows to come: at most a share `alpha` is correct at full width only.

    So accuracy is within `alpha` of full width's, with `confidence`. At the chosen threshold `lost`
    of `n` rows were correct at full width only, and `p_value` is of "more than `alpha` are".
    `rows_needed` is the number of rows that show any threshold if none of them is lost; with fewer,
    full width answers every row.
    """

    alpha: float
    confidence: float
    n: int
    lost: int
    p_value: float
    rows_needed: int

    @property
    def is_shown(self) -> bool:
        """True where a cascade that does not read everything of every row has the guarantee."""
        return self.p_value <= 1 - self.confidence


def guaranteed_thresholds(
    predictions: PrefixPredictions, alpha: float, confidence: float
) -> tuple[tuple[float, ...], AccuracyGuarantee]:
    """Find the smallest threshold, one for all classifiers, that has the guarantee.

    The rows are ones that nothing was fitted on. Learn then Test with a fixed sequence
    (Angelopoulos et al., 2110.01052): thresholds fall from .999 on until the exact binomial test
    first fails, and the last that passed is chosen. Full width loses nothing, so it answers every
    row where the first threshold fails.
    """
    n, n_thresholds = predictions.probability.shape[1], len(predictions.probability) - 1
    chosen, evidence = (NEVER,) * n_thresholds, (0, 1.0)
    for level in _LEVELS:
        thresholds = (float(level),) * n_thresholds
        lost = int(predictions.lost(thresholds).sum())
        p_value = binomial_p(lost, n, alpha)
        if p_value > 1 - confidence:
            break
        chosen, evidence = thresholds, (lost, p_value)
    rows_needed = smallest_true(lambda rows: binomial_p(0, rows, alpha) <= 1 - confidence)
    return chosen, AccuracyGuarantee(alpha, confidence, n, *evidence, rows_needed)


__getattr__ = renamed_attributes(
    __name__,
    {
        "Answers": ("PrefixPredictions", PrefixPredictions),
        "Certificate": ("AccuracyGuarantee", AccuracyGuarantee),
    },
)
