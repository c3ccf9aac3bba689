"""Running a plan on one segment, its queries shared out over threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from nestvec.errors import InputError
from nestvec.index.segment import Segment
from nestvec.kernels import load
from nestvec.kernels.reference import COSINE, EUCLIDEAN, IP
from nestvec.plan import Plan
from nestvec.shapes import Float32, Float64, Int64, UInt8

METRICS = {"ip": IP, "cosine": COSINE, "euclidean": EUCLIDEAN}


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
    allowed: UInt8[np.ndarray, " n"] | None = None,
    metric: str = "ip",
) -> Answers:
    """The `k` best rows of the segment for each query, as `plan` finds them.

    Only rows that are `allowed` (1, by row; None: all) are found; places that stay empty hold row
    −1 and score −inf. `threads` (None: all cores) share out the queries; the answer does not depend
    on them.
    """
    _check_threads(threads)
    answers = Answers(
        np.empty((len(queries), k), np.int64),
        np.empty((len(queries), k), np.float64),
        np.zeros((len(queries), len(plan.stages) + 2), np.int64),
    )
    cells, n = segment.cells, len(segment.vectors)
    funnel = segment.codec.funnel(plan)
    # More than all rows need no room.
    funnel = funnel._replace(keeps=np.minimum(funnel.keeps, n))
    probe = len(cells.counts) if plan.probe is None else min(plan.probe, len(cells.counts))
    mask = np.empty(0, np.uint8) if allowed is None else allowed
    kernel, kind = load().search_batch, METRICS[metric]

    def run(part: slice) -> None:
        found = (array[part] for array in answers)
        kernel(
            queries[part], cells, funnel, segment.vectors, mask, kind, probe, plan.full, k, *found
        )

    share_out(run, len(queries), threads)
    return answers


def share_out(run: Callable[[slice], None], queries: int, threads: int | None) -> None:
    """`run` on slices of the queries, one per thread."""
    parts = _shares(queries, threads)
    if len(parts) == 1:
        run(parts[0])
        return
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
