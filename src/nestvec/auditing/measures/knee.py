"""The knee: where a curve over log2 dims bends, if it says so again when queries are resampled."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nestvec.shapes import Float64

LEAST_SIZES = 8
"""A broken line has four parameters; fewer sizes fit it whatever the curve is."""
STABLE_SHARE = 0.8
"""So many resamples must agree on the octave."""
BENT_SHARE = 0.95
"""So many resamples must bend downward."""
_RESAMPLES = 1000
_PER_OCTAVE = 8


class _Bends(NamedTuple):
    """Where the best broken line of each curve breaks, and how much its slope changes there."""

    at: Float64[np.ndarray, " curves"]
    """log2 dims."""
    change: Float64[np.ndarray, " curves"]


def knee(
    dims: Sequence[int], values: Float64[np.ndarray, "q sizes"], rng: np.random.Generator
) -> dict[str, Any]:
    """The bend of the mean of `values` over log2 `dims`, and its 95 % interval by resampling.

    Where a knee is, depends on the sizes that were tested, so it is a description and no advice:
    safe dims are for that. `stable` is false, and `said` why, with fewer than 8 sizes, where fewer
    than 95 % of the resamples bend downward, or fewer than 80 % agree on the octave.
    """
    if len(dims) < LEAST_SIZES:
        return _unstable(f"{len(dims)} sizes were tested, and it takes {LEAST_SIZES}")
    order = np.argsort(dims)
    sizes, curves = np.log2(np.asarray(dims, float)[order]), values[:, order]
    n = len(curves)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES) / n
    mean, bends = _bends(sizes, curves.mean(axis=0)[None, :]), _bends(sizes, weights @ curves)
    bent = float((bends.change < 0).mean())
    octaves = np.bincount(np.rint(bends.at).astype(int)) / _RESAMPLES
    low, high = np.exp2(np.quantile(bends.at, [0.025, 0.975]))
    found = {"dims": float(np.exp2(mean.at[0])), "low": float(low), "high": float(high), "n": n}
    if bent < BENT_SHARE:
        return _unstable(f"only {bent:.0%} of resampled curves bend downward") | found
    if octaves.max() < STABLE_SHARE:
        return _unstable(f"only {octaves.max():.0%} of resamples agree on an octave") | found
    said = f"the curve bends at {found['dims']:.0f} dims ({low:.0f} to {high:.0f})"
    return {"stable": True, "said": said} | found


def _unstable(why: str) -> dict[str, Any]:
    return {"stable": False, "said": f"no stable knee: {why}"}


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
