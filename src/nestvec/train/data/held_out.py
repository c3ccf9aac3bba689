"""The split of rows into those that are trained on and those that are held out."""

import numpy as np

from nestvec.engine.validators import check_at_least
from nestvec.errors import InputError
from nestvec.shapes import Int64


def hold_out(
    n_rows: int, held_out: int, seed: int
) -> tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " held_out"]]:
    """Draw `held_out` of the rows by the seed; return the other rows and these, both rising."""
    check_at_least(0, seed=seed)
    if not 0 < held_out < n_rows:
        raise InputError(
            f"held_out={held_out} of {n_rows} rows leaves one side empty; use 1 to {n_rows - 1}"
        )
    order = np.random.default_rng(seed).permutation(n_rows)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
