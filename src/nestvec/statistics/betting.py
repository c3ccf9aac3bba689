"""Betting tests of a mean loss: valid at every sample size, and tight where losses are alike.

The null hypothesis is that losses in [0, 1] are above α on average. A gambler who doubts it stakes
a share of a capital of 1 on each loss before it is seen: the capital is multiplied by
1 + λₜ·(α − Lₜ). If the hypothesis is true, the capital does not grow on average, whatever the
stakes. It then reaches 1/p at any time with a probability of at most p (Ville, 1939), so the
largest capital on the way is evidence. Source: Waudby-Smith & Ramdas, "Estimating means of bounded
random variables by betting" (2010.09686).
"""

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import InputError
from nestvec.shapes import Float64
from nestvec.statistics.estimate import check_share

_MAX_STAKE = 0.9
"""The largest share of the capital that one loss can cost: a loss of 1 must not end the game."""


def betting_p(losses: ArrayLike, alpha: float, confidence: float = 0.95) -> float:
    """Compute the p-value of "the mean loss is above `alpha`" from independent `losses` [n].

    Losses are in [0, 1]; `InputError` for others. The test is valid at every sample size and for
    every distribution. It depends on the order of the losses, which must not depend on their
    values: shuffle them first. Stakes are the predictable plug-in ones for n known,
    √(2·ln(1/δ) / (n·σ̂²ₜ₋₁)) with δ = 1 − `confidence`, at which they work best; σ̂² starts from
    1/4. The p-value never rises where `alpha` does.
    """
    sample, alpha = _check(losses), check_share(alpha, "alpha")
    stakes = np.minimum(_stakes(sample, confidence), _MAX_STAKE / (1 - alpha))
    capital = np.log1p(stakes * (alpha - sample)).cumsum()
    return float(np.exp(-max(0.0, capital.max())))


def mean_loss_upper_bound(losses: ArrayLike, confidence: float = 0.95) -> float:
    """Compute the one-sided upper bound of the mean loss; `betting_p` rejects means above it."""
    delta = 1 - check_share(confidence, "confidence")
    low, high = 0.0, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        rejected = betting_p(losses, middle, confidence) <= delta
        low, high = (low, middle) if rejected else (middle, high)
    return high


def _stakes(losses: Float64[np.ndarray, " n"], confidence: float) -> Float64[np.ndarray, " n"]:
    """Compute the stake on each loss from the variance of the losses before it, and nothing else.

    It is the same for every α but for `_MAX_STAKE`, so the capital rises with α.
    """
    count = np.arange(1, len(losses) + 1)
    means = (0.5 + losses.cumsum()) / (count + 1)
    variances = (0.25 + np.square(losses - means).cumsum()) / (count + 1)
    earlier = np.concatenate([[0.25], variances[:-1]])
    odds = -np.log(1 - check_share(confidence, "confidence"))
    return np.asarray(np.sqrt(2 * odds / (len(losses) * earlier)))


def _check(losses: ArrayLike) -> Float64[np.ndarray, " n"]:
    sample = np.asarray(losses, np.float64)
    if sample.ndim != 1 or not len(sample) or not ((sample >= 0) & (sample <= 1)).all():
        raise InputError(
            f"losses of shape {sample.shape} are no sample; pass at least one, each from 0 to 1"
        )
    return sample
