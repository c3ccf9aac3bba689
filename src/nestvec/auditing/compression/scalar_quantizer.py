"""Uniform scalar quantiser: a code of 8, 4, 2 or 1 bits per dimension."""

from dataclasses import dataclass

import numpy as np

from nestvec.parallel import map_blocks
from nestvec.shapes import Float32, Float64

_STEPS = {8: 0.0308, 4: 0.3352, 2: 0.9957}
"""Best step, in standard deviations, of a uniform quantiser for a normal variable (Max 1960)."""
_BLOCK_ROWS = 1024
"""Rows that stay in the cache from one step to the next."""


@dataclass(frozen=True)
class ScalarQuantizer:
    """A uniform quantiser per dimension: levels about the mean, in steps that suit the spread."""

    minimum: Float32[np.ndarray, " dims"]
    step: Float32[np.ndarray, " dims"]
    bits: int

    @classmethod
    def fit(cls, vectors: Float32[np.ndarray, "n dims"], bits: int) -> "ScalarQuantizer":
        """Fit the levels of each dimension; a code of 1 bit is the sign: −1 and 1 about zero."""
        if bits == 1:
            ones = np.ones(vectors.shape[1], np.float32)
            return cls(-ones, 2 * ones, 1)
        mean, deviation = _moments(vectors)
        step = _STEPS[bits] * deviation
        minimum = mean - step * (2**bits - 1) / 2
        return cls(minimum.astype(np.float32), step.astype(np.float32), bits)

    def round(self, vectors: Float32[np.ndarray, "n dims"]) -> Float32[np.ndarray, "n dims"]:
        """Round to the nearest levels, as floats; values beyond the outer levels are clipped."""
        rounded = np.empty_like(vectors)

        def round_block(block: slice) -> None:
            rounded[block] = self.minimum + self.step * self._codes(vectors[block])

        map_blocks(round_block, len(vectors), _BLOCK_ROWS)
        return rounded

    def _codes(self, vectors: Float32[np.ndarray, "n dims"]) -> Float32[np.ndarray, "n dims"]:
        if self.bits == 1:
            return np.asarray(vectors >= 0, np.float32)
        # A dimension without spread has one level: its mean.
        step = np.where(self.step > 0, self.step, np.float32(1))
        codes = np.rint((vectors - self.minimum) / step)
        return np.asarray(np.clip(codes, 0, 2**self.bits - 1), np.float32)


def _moments(
    vectors: Float32[np.ndarray, "n dims"],
) -> tuple[Float64[np.ndarray, " dims"], Float64[np.ndarray, " dims"]]:
    """Mean and standard deviation of each dimension."""
    n, width = vectors.shape
    mean = vectors.mean(axis=0, dtype=np.float64)
    squares = np.zeros((len(range(0, n, _BLOCK_ROWS)), width))

    def add_squares(block: slice) -> None:
        squares[block.start // _BLOCK_ROWS] = np.square(vectors[block] - mean).sum(axis=0)

    map_blocks(add_squares, n, _BLOCK_ROWS)
    return mean, np.sqrt(squares.sum(axis=0) / n)
