"""A vector as JSON writes it."""

import numpy as np

from nestvec.shapes import Float32


def parse_row(value: object) -> Float32[np.ndarray, " dim"] | None:
    """A list of numbers as float32, None for anything else; too large numbers become infinity."""
    if not isinstance(value, list) or not value:
        return None
    try:
        row = np.asarray(value)
    except ValueError:  # lists of different lengths inside
        return None
    if row.ndim != 1 or row.dtype.kind not in "fiu":
        return None
    with np.errstate(over="ignore"):
        return row.astype(np.float32)
