"""The backend that runs: the functions of `reference`, compiled by numba, equal to the last bit.

Import this module late, through `kernels.load()`: importing numba costs 0.3 s.
"""

from typing import NamedTuple

import numpy as np

from nestvec.kernels.backend import (
    SearchOptions,
    SegmentArrays,
    SegmentBounds,
    SegmentPlan,
    TopK,
)
from nestvec.kernels.coding import (
    assign_with_spill,
    inner_with_decoded,
    pack_words,
    quantize_residuals,
    residual_norms,
)
from nestvec.kernels.exact import exact_batch, orthogonality_defect, scan_batch
from nestvec.kernels.layout import GROUP, IP, LANES, PARTS, Cells, Funnel, pack_records, part_bounds
from nestvec.kernels.searching import search_batch
from nestvec.kernels.structs import pack
from nestvec.kernels.top_scores import best_scores, count_reaching

__all__ = [
    "assign_with_spill",
    "best_scores",
    "count_reaching",
    "exact_batch",
    "inner_with_decoded",
    "orthogonality_defect",
    "pack",
    "pack_words",
    "quantize_residuals",
    "residual_norms",
    "scan_batch",
    "search_batch",
]


def warm_up() -> None:
    """Compile, or load from the cache, the kernels of build and search for the types in use.

    Cells and vectors are read-only, as memory maps are; arrays of a call can be written to.
    """
    codes = np.zeros((1, GROUP), np.uint8)
    ones = np.ones(GROUP, np.float32)
    levels = np.full(GROUP, 2, np.int64)
    zero = np.zeros(1, np.int64)
    quantize_residuals(codes.astype(np.float32), ones[:1], ones, ones, levels)
    words = pack_words(codes, zero, zero)
    values = np.ones((1, 256), np.float32)
    inner_with_decoded(ones[None, :], codes, values, ones)
    residual_norms(ones[None, :], codes, values, ones, ones[:1], part_bounds(GROUP))
    assign_with_spill(ones[None, :1], ones[None, :], ones[None, :], 1, zero, zero.copy())
    example = _smallest_segment(words)
    plan = pack(SegmentPlan(example.funnel, 1, True))
    options = SearchOptions(IP, 1, np.empty(0, np.uint8))
    search_batch(ones[None, :], pack(example.segment), plan, options, TopK.empty(1, 1, 4))


def warm_up_exact() -> None:
    """Compile, or load from the cache, the kernels of exact search."""
    segment, funnel = _smallest_segment(np.zeros((1, 1), np.uint64))
    query, out = np.ones((1, GROUP), np.float32), TopK.empty(1, 1, 4)
    bounds = pack(SegmentBounds(funnel, part_bounds(GROUP), 9.0, 0.0))
    options = SearchOptions(IP, 1, np.empty(0, np.uint8))
    exact_batch(query, np.zeros(1), pack(segment), bounds, options, 1, out)
    scan_batch(query, segment.vectors, np.zeros(1, np.int64), IP, 1, out)
    orthogonality_defect(segment.cells.rotation)


def warm_up_scoring() -> None:
    """Compile, or load from the cache, the kernels that read all scores of an audit."""
    score, zero = np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int64)
    best_scores(score, zero, score.copy())
    count_reaching(score, zero[0], score[0], zero[0].copy())


class _Example(NamedTuple):
    segment: SegmentArrays
    funnel: Funnel


def _smallest_segment(words: np.ndarray) -> _Example:
    """Make one row in one cell, with arrays of every kind that there is, and a funnel."""
    ones, vectors = np.ones(GROUP, np.float32), np.ones((1, GROUP), np.float32)
    scale = np.full(LANES, np.nan, np.float32)
    scale[0] = 1
    zero, errors = np.zeros(1, np.int64), np.zeros((1, PARTS), np.float32)
    records = pack_records(words, ones[:1], ones[:1], zero, zero, errors)
    cells = Cells(
        rotation=np.eye(GROUP, dtype=np.float32), sigma=ones,
        centroids=np.zeros((1, 1, LANES, 4), np.uint8), steps=ones[:LANES], priors=ones[:LANES],
        spreads=ones[:LANES], starts=np.array([0, 1]), overflow_starts=np.array([1, 1]),
        counts=np.ones(1, np.int64), spill_counts=np.zeros(1, np.int64),
        row_offsets=np.array([0, 1]), spill_row_offsets=np.zeros(2, np.int64),
        spill_record_ids=np.empty(0, np.int32), scale=scale, bias=np.empty(0, np.float32),
        head=np.zeros((1, 8, LANES), np.uint8),
        head_errors=np.zeros((1, PARTS, LANES), np.uint16), records=records,
        record_floats=records.view(np.float32), record_ints=records.view(np.int32),
    )  # fmt: skip
    zeros = np.zeros(2, np.int64)
    funnel = Funnel(
        dims=zeros + GROUP, keep=zeros + 1, starts=np.arange(3), word_slots=zeros,
        head_word_slots=zeros, groups=zeros, coefficients=np.ones(2, np.float32),
    )  # fmt: skip
    for array in (*cells, vectors):
        array.flags.writeable = False
    return _Example(SegmentArrays(cells, vectors), funnel)
