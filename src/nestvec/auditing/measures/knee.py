"""Knee: the dims at which a curve over log2 dims bends, if resampled queries agree on it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nestvec.plurals import count_of
from nestvec.shapes import Float64

MIN_SIZES = 8
"""A broken line has four parameters; fewer sizes fit it whatever the curve is."""
STABLE_SHARE = 0.8
"""Share of the resamples that must agree on the octave."""
BEND_SHARE = 0.95
"""Share of the resamples that must bend downward."""
_RESAMPLES = 1000
_PER_OCTAVE = 8


class _Bends(NamedTuple):
    """Place where the best broken line of each curve breaks, and the change of its slope there."""

    position: Float64[np.ndarray, " curves"]
    """log2 dims."""
    slope_change: Float64[np.ndarray, " curves"]


def knee(
    dims: Sequence[int], values: Float64[np.ndarray, "q sizes"], rng: np.random.Generator
) -> dict[str, Any]:
    """Bend of the mean of `values` over log2 `dims`, with its 95 % interval by resampling.

    A knee depends on the sizes that were tested, so it describes and does not advise; safe dims are
    for that. `stable` is false, and `message` says why, with fewer than 8 sizes, where fewer
    than 95 % of the resamples bend downward, or fewer than 80 % agree on the octave.
    """
    if len(dims) < MIN_SIZES:
        return _unstable(
            f"{count_of(len(dims), 'width was', 'widths were')} tested, and it takes {MIN_SIZES}"
        )
    order = np.argsort(dims)
    sizes, curves = np.log2(np.asarray(dims, float)[order]), values[:, order]
    n = len(curves)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES) / n
    mean, bends = _bends(sizes, curves.mean(axis=0)[None, :]), _bends(sizes, weights @ curves)
    bend_share = float((bends.slope_change < 0).mean())
    octaves = np.bincount(np.rint(bends.position).astype(int)) / _RESAMPLES
    low, high = np.exp2(np.quantile(bends.position, [0.025, 0.975]))
    bend = {
        "dims": float(np.exp2(mean.position[0])),
        "low": float(low),
        "high": float(high),
        "n": n,
    }
    if bend_share < BEND_SHARE:
        return _unstable(f"only {bend_share:.0%} of resampled curves bend downward") | bend
    if octaves.max() < STABLE_SHARE:
        return _unstable(f"only {octaves.max():.0%} of resamples agree on an octave") | bend
    message = f"the curve bends at {bend['dims']:.0f} dims ({low:.0f} to {high:.0f})"
    return {"stable": True, "message": message} | bend


def _unstable(reason: str) -> dict[str, Any]:
    return {"stable": False, "message": f"no stable knee: {reason}"}


def _bends(
    sizes: Float64[np.ndarray, " sizes"], curves: Float64[np.ndarray, "curves sizes"]
) -> _Bends:
    """Least squares of y = a + b·x + c·max(0, x − t), t on a grid with two sizes on either side."""
    places = np.arange(sizes[1], sizes[-2] + 1e-9, 1 / _PER_OCTAVE)
    errors, changes = [], []
    for place in places:
        line = np.stack([np.ones_like(sizes), sizes, np.maximum(0, sizes - place)], axis=1)
        fitted = curves @ np.linalg.pinv(line).T
        errors.append(np.square(curves - fitted @ line.T).sum(axis=1))
        changes.append(fitted[:, 2])
    best = np.argmin(errors, axis=0)
    change = np.array(changes)[best, np.arange(len(curves))]
    return _Bends(places[best], change)
