"""The kernels of `reference`, compiled by numba: same names, same meaning, equal to the last bit.

Import this module late, through `kernels.load()`: importing numba costs 0.3 s.
"""

import numpy as np

from nestvec.kernels.coding import (
    assign_twice,
    lengths_along,
    pack_words,
    quantize_residuals,
    rests,
)
from nestvec.kernels.exact import defect, exact_batch, scan_batch
from nestvec.kernels.layout import GROUP, IP, LANES, PARTS, Cells, Funnel, pack_records, part_bounds
from nestvec.kernels.searching import search_batch
from nestvec.kernels.selecting import best_scores, count_reaching

__all__ = [
    "assign_twice",
    "best_scores",
    "count_reaching",
    "defect",
    "exact_batch",
    "lengths_along",
    "pack_words",
    "quantize_residuals",
    "rests",
    "scan_batch",
    "search_batch",
    "warm_up",
]


def warm_up() -> None:
    """Compile (or load from the cache) every kernel for the one set of types that is used.

    Cells and vectors are read-only, as memory maps are; what a call brings can be written to.
    """
    codes = np.zeros((1, GROUP), np.uint8)
    one = np.ones(GROUP, np.float32)
    levels = np.full(GROUP, 2, np.int64)
    place = np.zeros(1, np.int64)
    quantize_residuals(codes.astype(np.float32), one[:1], one, one, levels)
    words = pack_words(codes, place, place)
    values = np.ones((1, 256), np.float32)
    lengths_along(one[None, :], codes, values, one)
    rests(one[None, :], codes, values, one, one[:1], part_bounds(GROUP))
    assign_twice(one[None, :1], one[None, :], one[None, :], 1, place, place.copy())
    cells, funnel, vectors = _smallest(words)
    found = np.empty((1, 1), np.int64), np.empty((1, 1)), np.empty((1, 4), np.int64)
    every = np.empty(0, np.uint8)
    search_batch(one[None, :], cells, funnel, vectors, every, IP, 1, True, 1, *found)


def warm_up_exact() -> None:
    """The same for the exact search."""
    cells, funnel, vectors = _smallest(np.zeros((1, 1), np.uint64))
    found = np.empty((1, 1), np.int64), np.empty((1, 1)), np.empty((1, 4), np.int64)
    query, every = np.ones((1, GROUP), np.float32), np.empty(0, np.uint8)
    parts = part_bounds(GROUP)
    exact_batch(
        query, cells, funnel, vectors, parts, 9.0, 0.0, every, IP, 1, np.zeros(1), 1, *found
    )  # fmt: skip
    scan_batch(query, vectors, np.zeros(1, np.int64), IP, 1, *found[:2])
    defect(cells.rotation)


def warm_up_scores() -> None:
    """The same for what an audit does with all scores."""
    score, place = np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int64)
    best_scores(score, place, score.copy())
    count_reaching(score, place[0], score[0], place[0].copy())


def _smallest(words: np.ndarray) -> tuple[Cells, Funnel, np.ndarray]:
    """One row in one cell, with arrays of every kind that there is, and its vector."""
    one, vectors = np.ones(GROUP, np.float32), np.ones((1, GROUP), np.float32)
    scale = np.full(LANES, np.nan, np.float32)
    scale[0] = 1
    place, parts = np.zeros(1, np.int64), np.zeros((1, PARTS), np.float32)
    records = pack_records(words, one[:1], one[:1], place, place, parts)
    cells = Cells(
        rotation=np.eye(GROUP, dtype=np.float32), sigma=one,
        centroids=np.zeros((1, 1, LANES, 4), np.uint8), steps=one[:LANES], priors=one[:LANES],
        spreads=one[:LANES], starts=np.array([0, 1]), rests=np.array([1, 1]),
        counts=np.ones(1, np.int64), spills=np.zeros(1, np.int64), firsts=np.array([0, 1]),
        spill_firsts=np.zeros(2, np.int64), spill_homes=np.empty(0, np.int32), scale=scale,
        bias=np.empty(0, np.float32), head=np.zeros((1, 8, LANES), np.uint8),
        head_errors=np.zeros((1, PARTS, LANES), np.uint16), records=records,
        record_floats=records.view(np.float32), record_ints=records.view(np.int32),
    )  # fmt: skip
    two = np.zeros(2, np.int64)
    funnel = Funnel(
        dims=two + GROUP, keeps=two + 1, starts=np.arange(3), slots=two, head_slots=two,
        groups=two, coefficients=np.ones(2, np.float32),
    )  # fmt: skip
    for array in (*cells, vectors):
        array.flags.writeable = False
    return cells, funnel, vectors
