"""A classifier of one prefix: linear, with calibrated probabilities."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nestvec.errors import InputError
from nestvec.shapes import Float, Float32, Float64, Int64
from nestvec.vectors import normalize

PENALTY = 1e-5
"""λ of softmax regression, on unit vectors; docs/how-to/classify.md has what others give."""
_STEPS = 300


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Logits (x·weightᵀ + bias) / temperature of the first `dims` dimensions of a row.

    With `unit`, which frozen embeddings want, the prefix is scaled to unit length first; heads
    that were trained on raw prefixes (`nestvec.NestedHead`) take them as they are.
    """

    weight: Float32[np.ndarray, "classes dims"]
    bias: Float32[np.ndarray, " outputs"]
    temperature: float = 1.0
    unit: bool = True

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            raise InputError(
                f"weight {self.weight.shape} and bias {self.bias.shape} do not fit; "
                "use [classes, dims] and [classes]"
            )
        if not (np.isfinite(self.weight).all() and np.isfinite(self.bias).all()):
            raise InputError("weight or bias holds NaN or infinity; train the classifier again")
        if not 0 < self.temperature < np.inf:
            raise InputError(f"temperature={self.temperature} is out of range; use above 0")

    @property
    def dims(self) -> int:
        """How many dimensions it reads."""
        return int(self.weight.shape[1])

    def logits(self, vectors: Float[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n classes"]:
        """Of the prefixes of these rows, divided by the temperature."""
        rows = prefix(vectors, self.dims, self.unit)
        return np.asarray((rows @ self.weight.T + self.bias) / np.float32(self.temperature))

    def probabilities(
        self, vectors: Float[np.ndarray, "n dim"]
    ) -> Float32[np.ndarray, "n classes"]:
        """Which class how likely; every row sums to 1."""
        return softmax(self.logits(vectors))

    def calibrated(
        self, vectors: Float[np.ndarray, "n dim"], answers: Int64[np.ndarray, " n"]
    ) -> "Linear":
        """The same with the temperature that makes held-out answers likeliest (Guo et al., 2017).

        `answers` are class numbers. Between a hundredth and a hundred times the present one.
        """
        from scipy.optimize import minimize_scalar

        logits = self.logits(vectors).astype(np.float64)

        def surprise(log_temperature: float) -> float:
            return cross_entropy(logits / np.exp(log_temperature), answers)

        found = minimize_scalar(surprise, bounds=(np.log(0.01), np.log(100)), method="bounded")
        return replace(self, temperature=float(self.temperature * np.exp(found.x)))


def prefix(
    vectors: Float[np.ndarray, "n dim"], dims: int, unit: bool
) -> Float32[np.ndarray, "n dims"]:
    """The first `dims` dimensions in float32, of unit length if `unit`."""
    rows = np.asarray(vectors[:, :dims], dtype=np.float32)
    return normalize(rows) if unit else rows


def softmax(logits: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, "n classes"]:
    """Along classes, in the same dtype."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def cross_entropy(
    logits: Float64[np.ndarray, "n classes"], answers: Int64[np.ndarray, " n"]
) -> float:
    """The mean of −log softmax at the answers."""
    highest = logits.max(axis=1)
    total = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    return float((total - logits[np.arange(len(logits)), answers]).mean())


# --- fits: rows of unit length, answers as class numbers, every class at least once --------------

Fit = Callable[[Float32[np.ndarray, "n dims"], Int64[np.ndarray, " n"], int], Linear]


def nearest_mean(
    rows: Float32[np.ndarray, "n dims"], answers: Int64[np.ndarray, " n"], classes: int
) -> Linear:
    """The class whose mean is nearest: x·μ − ‖μ‖²/2 is largest where ‖x − μ‖ is least."""
    sums = np.zeros((classes, rows.shape[1]))
    np.add.at(sums, answers, rows)
    means = (sums / np.bincount(answers, minlength=classes)[:, None]).astype(np.float32)
    return Linear(means, -(means**2).sum(axis=1) / 2)


def softmax_regression(
    rows: Float32[np.ndarray, "n dims"], answers: Int64[np.ndarray, " n"], classes: int
) -> Linear:
    """The least mean cross-entropy + `PENALTY`/2 × ‖weight‖², by L-BFGS from zero.

    The problem is convex, so there is one answer; equal input gives an equal one.
    """
    from scipy.optimize import minimize

    width = rows.shape[1]
    # One more dimension of ones carries the bias.
    wide = np.concatenate([rows, np.ones((len(rows), 1), np.float32)], axis=1)
    each = np.arange(len(rows))

    def value_and_slope(flat: Float64[np.ndarray, " size"]) -> tuple[float, Any]:
        weight = flat.reshape(classes, width + 1)
        logits = wide @ weight.T.astype(np.float32)
        slopes = softmax(logits)
        value = -np.log(np.maximum(slopes[each, answers], 1e-30)).mean(dtype=np.float64)
        slopes[each, answers] -= 1
        slope = (slopes.T @ wide).astype(np.float64) / len(rows)
        slope[:, :width] += PENALTY * weight[:, :width]
        value += PENALTY / 2 * (weight[:, :width] ** 2).sum()
        return float(value), slope.ravel()

    start = np.zeros(classes * (width + 1))
    found = minimize(
        value_and_slope, start, jac=True, method="L-BFGS-B",
        options={"maxiter": _STEPS, "ftol": 1e-7},
    )  # fmt: skip
    weight = found.x.reshape(classes, width + 1).astype(np.float32)
    return Linear(np.ascontiguousarray(weight[:, :width]), weight[:, width].copy())


FITS: dict[str, Fit] = {"softmax": softmax_regression, "nearest-mean": nearest_mean}
