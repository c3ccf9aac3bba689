"""Which rows are trained on, and which are held out."""

import numpy as np

from nestvec.engine.validators import check_at_least
from nestvec.errors import InputError
from nestvec.shapes import Int64


def hold_out(
    rows: int, held_out: int, seed: int
) -> tuple[Int64[np.ndarray, " kept"], Int64[np.ndarray, " held"]]:
    """All but `held_out` of so many rows, and these, drawn by the seed; both rising."""
    check_at_least(0, seed=seed)
    if not 0 < held_out < rows:
        raise InputError(f"held_out={held_out} of {rows} rows; hold out 1 to all but 1")
    order = np.random.default_rng(seed).permutation(rows)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
