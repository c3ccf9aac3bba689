"""Tests of a mean by betting against it: as strict as exact ones, and tight where losses are alike.

The null hypothesis says that losses in [0, 1] are above α on average. Somebody who doubts it stakes
a share of a capital of 1 on each loss, before it is seen: the capital is multiplied by
1 + λₜ·(α − Lₜ). If the hypothesis is true, it does not grow on average whatever the bets, so it
ever reaches 1/p with a chance of at most p (Ville, 1939): the largest capital on the way is
evidence. Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting"
(2010.09686).
"""

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import InputError
from nestvec.shapes import Float64
from nestvec.statistics.estimate import check_share

_CAUTION = 0.9
"""No bet loses more than this share of the capital: a loss of 1 must not end the game."""


def betting_p(losses: ArrayLike, alpha: float, confidence: float = 0.95) -> float:
    """The p-value of "the mean loss is above `alpha`" by independent losses in [0, 1], in order.

    Valid at every sample size and for every distribution. It depends on the order, which must not
    depend on the losses: shuffle first. Bets are the predictable plug-in ones for n known,
    √(2·ln(1/δ) / (n·σ̂²ₜ₋₁)) with δ = 1 − `confidence`, at which they work best; σ̂² starts from
    1/4. Never rises where `alpha` does.
    """
    drawn, alpha = _check(losses), check_share(alpha, "alpha")
    bets = np.minimum(_bets(drawn, confidence), _CAUTION / (1 - alpha))
    capital = np.log1p(bets * (alpha - drawn)).cumsum()
    return float(np.exp(-max(0.0, capital.max())))


def largest_mean_loss(losses: ArrayLike, confidence: float = 0.95) -> float:
    """The one-sided upper bound of the mean loss: what `betting_p` refutes lies above."""
    left = 1 - check_share(confidence, "confidence")
    low, high = 0.0, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        refuted = betting_p(losses, middle, confidence) <= left
        low, high = (low, middle) if refuted else (middle, high)
    return high


def _bets(losses: Float64[np.ndarray, " n"], confidence: float) -> Float64[np.ndarray, " n"]:
    """What to stake on each loss, by the spread of those before it and nothing else.

    The same for every α, but for the limit: so the capital rises with α.
    """
    count = np.arange(1, len(losses) + 1)
    means = (0.5 + losses.cumsum()) / (count + 1)
    spreads = (0.25 + np.square(losses - means).cumsum()) / (count + 1)
    before = np.concatenate([[0.25], spreads[:-1]])
    odds = -np.log(1 - check_share(confidence, "confidence"))
    return np.asarray(np.sqrt(2 * odds / (len(losses) * before)))


def _check(losses: ArrayLike) -> Float64[np.ndarray, " n"]:
    drawn = np.asarray(losses, np.float64)
    if drawn.ndim != 1 or not len(drawn) or not ((drawn >= 0) & (drawn <= 1)).all():
        raise InputError(
            f"losses of shape {drawn.shape} are no sample; give at least one, each from 0 to 1"
        )
    return drawn
