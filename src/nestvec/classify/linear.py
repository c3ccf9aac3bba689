"""A classifier of one prefix: linear, with calibrated probabilities."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nestvec.deprecation import renamed_attributes
from nestvec.errors import InputError
from nestvec.shapes import Float, Float32, Float64, Int64
from nestvec.vectors import normalize

PENALTY = 1e-5
"""λ of softmax regression, on unit vectors; docs/how-to/classify.md compares other values."""
_MAX_ITERATIONS = 300


@dataclass(frozen=True, slots=True, eq=False)
class LinearClassifier:
    """Logits (x·weightᵀ + bias) / temperature of the first `dims` dimensions of a row.

    With `unit`, the setting for frozen embeddings, the prefix is scaled to unit length first; heads
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
        """The number of dimensions that the classifier reads."""
        return int(self.weight.shape[1])

    def logits(self, vectors: Float[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n classes"]:
        """Compute the logits of the rows' prefixes, divided by the temperature."""
        rows = prefix(vectors, self.dims, self.unit)
        return np.asarray((rows @ self.weight.T + self.bias) / np.float32(self.temperature))

    def probabilities(
        self, vectors: Float[np.ndarray, "n dim"]
    ) -> Float32[np.ndarray, "n classes"]:
        """Compute the probability of each class; every row sums to 1."""
        return softmax(self.logits(vectors))

    def calibrated(
        self, vectors: Float[np.ndarray, "n dim"], class_ids: Int64[np.ndarray, " n"]
    ) -> "LinearClassifier":
        """Return the classifier with its temperature fitted to held-out rows (Guo et al., 2017).

        The temperature maximises the likelihood of `class_ids`, between a hundredth and a hundred
        times the current one.
        """
        from scipy.optimize import minimize_scalar

        logits = self.logits(vectors).astype(np.float64)

        def loss(log_temperature: float) -> float:
            return cross_entropy(logits / np.exp(log_temperature), class_ids)

        result = minimize_scalar(loss, bounds=(np.log(0.01), np.log(100)), method="bounded")
        return replace(self, temperature=float(self.temperature * np.exp(result.x)))


def prefix(
    vectors: Float[np.ndarray, "n dim"], dims: int, unit: bool
) -> Float32[np.ndarray, "n dims"]:
    """Return the first `dims` dimensions in float32, scaled to unit length if `unit`."""
    rows = np.asarray(vectors[:, :dims], dtype=np.float32)
    return normalize(rows) if unit else rows


def softmax(logits: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, "n classes"]:
    """Compute the softmax along classes, in the dtype of the logits."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def cross_entropy(
    logits: Float64[np.ndarray, "n classes"], class_ids: Int64[np.ndarray, " n"]
) -> float:
    """Compute the mean of −log softmax at the class ids."""
    highest = logits.max(axis=1)
    total = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    return float((total - logits[np.arange(len(logits)), class_ids]).mean())


# --- fits: rows of unit length, class ids as labels, every class at least once -------------------

Fit = Callable[[Float32[np.ndarray, "n dims"], Int64[np.ndarray, " n"], int], LinearClassifier]


def nearest_mean(
    rows: Float32[np.ndarray, "n dims"], class_ids: Int64[np.ndarray, " n"], classes: int
) -> LinearClassifier:
    """Fit the nearest class mean: x·μ − ‖μ‖²/2 is largest where ‖x − μ‖ is smallest."""
    sums = np.zeros((classes, rows.shape[1]))
    np.add.at(sums, class_ids, rows)
    means = (sums / np.bincount(class_ids, minlength=classes)[:, None]).astype(np.float32)
    return LinearClassifier(means, -(means**2).sum(axis=1) / 2)


def softmax_regression(
    rows: Float32[np.ndarray, "n dims"], class_ids: Int64[np.ndarray, " n"], classes: int
) -> LinearClassifier:
    """Fit by the smallest mean cross-entropy + `PENALTY`/2 × ‖weight‖², by L-BFGS from zero.

    The problem is convex, so there is one solution; equal input gives an equal one.
    """
    from scipy.optimize import minimize

    width = rows.shape[1]
    # One more dimension of ones carries the bias.
    augmented = np.concatenate([rows, np.ones((len(rows), 1), np.float32)], axis=1)
    row_ids = np.arange(len(rows))

    def value_and_gradient(flat: Float64[np.ndarray, " size"]) -> tuple[float, Any]:
        weight = flat.reshape(classes, width + 1)
        logits = augmented @ weight.T.astype(np.float32)
        gradients = softmax(logits)
        value = -np.log(np.maximum(gradients[row_ids, class_ids], 1e-30)).mean(dtype=np.float64)
        gradients[row_ids, class_ids] -= 1
        gradient = (gradients.T @ augmented).astype(np.float64) / len(rows)
        gradient[:, :width] += PENALTY * weight[:, :width]
        value += PENALTY / 2 * (weight[:, :width] ** 2).sum()
        return float(value), gradient.ravel()

    start = np.zeros(classes * (width + 1))
    result = minimize(
        value_and_gradient, start, jac=True, method="L-BFGS-B",
        options={"maxiter": _MAX_ITERATIONS, "ftol": 1e-7},
    )  # fmt: skip
    weight = result.x.reshape(classes, width + 1).astype(np.float32)
    return LinearClassifier(np.ascontiguousarray(weight[:, :width]), weight[:, width].copy())


CLASSIFIER_FITS: dict[str, Fit] = {"softmax": softmax_regression, "nearest-mean": nearest_mean}

__getattr__ = renamed_attributes(__name__, {"Linear": ("LinearClassifier", LinearClassifier)})
