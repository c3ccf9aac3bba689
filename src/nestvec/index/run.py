"""Running a plan on one segment, its queries shared out over threads."""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from nestvec.errors import InputError
from nestvec.index.segment import Segment
from nestvec.kernels import load
from nestvec.kernels.reference import Funnel
from nestvec.plan import Plan
from nestvec.shapes import Float32, Float64, Int64

_BATCH_QUERIES = 1024
"""Handled at a time: the scores of so many queries and all cells are held in memory."""


class Answers(NamedTuple):
    """What one segment answers: its own row numbers, best first."""

    rows: Int64[np.ndarray, "q k"]
    scores: Float64[np.ndarray, "q k"]
    counts: Int64[np.ndarray, "q counts"]
    """[cells probed, rows per stage…, rows scored in full] of each query."""


def run_plan(
    segment: Segment,
    queries: Float32[np.ndarray, "q dim"],
    k: int,
    plan: Plan,
    threads: int | None = None,
) -> Answers:
    """The `k` best rows of the segment for each query, as `plan` finds them.

    `threads` (None: all cores) share out the queries; the answer does not depend on them.
    """
    _check_threads(threads)
    answers = Answers(
        np.empty((len(queries), k), np.int64),
        np.empty((len(queries), k), np.float64),
        np.zeros((len(queries), len(plan.stages) + 2), np.int64),
    )
    funnel = segment.codec.funnel(plan)
    # More than all rows need no room.
    funnel = funnel._replace(keeps=np.minimum(funnel.keeps, len(segment.vectors)))
    for first in range(0, max(1, len(queries)), _BATCH_QUERIES):
        batch = slice(first, first + _BATCH_QUERIES)
        part = Answers(*(array[batch] for array in answers))
        _run_batch(segment, queries[batch], plan, funnel, threads, part)
    return answers


def _run_batch(
    segment: Segment,
    queries: Float32[np.ndarray, "q dim"],
    plan: Plan,
    funnel: Funnel,
    threads: int | None,
    answers: Answers,
) -> None:
    cells, k = segment.cells, answers.rows.shape[1]
    probe = len(cells.counts) if plan.probe is None else min(plan.probe, len(cells.counts))
    # Before the work is shared out: BLAS has threads of its own, which would get in the way.
    rotated, cell_scores = segment.locate(queries)
    kernel = load().search_batch

    def run(part: slice) -> None:
        found = (array[part] for array in answers)
        asked = queries[part], rotated[part], cell_scores[part]
        kernel(*asked, cells, funnel, segment.vectors, probe, plan.full, k, *found)

    parts = _shares(len(queries), threads)
    if len(parts) == 1:
        run(parts[0])
    else:
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(run, parts))


def _check_threads(threads: int | None) -> None:
    if threads is not None and threads < 1:
        raise InputError(f"threads={threads} is below 1; use at least 1, or None for all cores")


def _shares(queries: int, threads: int | None) -> list[slice]:
    """Slices of the batch: one per thread, none empty but for an empty batch."""
    workers = max(1, min(threads or os.cpu_count() or 1, queries))
    bounds = [queries * i // workers for i in range(workers + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]
