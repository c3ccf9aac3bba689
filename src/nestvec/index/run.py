"""Running a plan on one segment, its queries shared out over threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from nestvec.errors import InputError
from nestvec.index.defaults import default_plan
from nestvec.index.segment import Segment
from nestvec.kernels import load, load_exact
from nestvec.kernels.reference import COSINE, EUCLIDEAN, IP, part_bounds
from nestvec.plan import Plan, Stage
from nestvec.shapes import Bool, Float32, Float64, Int64, UInt8

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
    mask = _mask(allowed)
    kernel, kind = load().search_batch, METRICS[metric]

    def run(part: slice) -> None:
        found = (array[part] for array in answers)
        kernel(
            queries[part], cells, funnel, segment.vectors, mask, kind, probe, plan.full, k, *found
        )

    share_out(run, len(queries), threads)
    return answers


def run_exact(
    segment: Segment,
    queries: Float32[np.ndarray, "q dim"],
    k: int,
    threads: int | None = None,
    allowed: UInt8[np.ndarray, " n"] | None = None,
    metric: str = "ip",
) -> Answers:
    """The `k` best of all (allowed) rows, proven: `kernels.reference.exact_one`, by bounds.

    An approximate search comes first: its k-th score is what bounds are held against. `counts` are
    [all cells, rows bounded by their heads, rows bounded by all words, rows scored in full].
    """
    start = run_plan(segment, queries, k, default_plan(segment, k), threads, allowed, metric)
    answers, _ = _run_bounds(segment, queries, start, threads, allowed, metric, patience=k)
    answers.counts[:, 3] += start.counts[:, -1]
    return answers


def certify(
    segment: Segment,
    queries: Float32[np.ndarray, "q dim"],
    answers: Answers,
    threads: int | None = None,
    allowed: UInt8[np.ndarray, " n"] | None = None,
    metric: str = "ip",
) -> Bool[np.ndarray, " q"]:
    """Which of the answers, in full scores, are the exact ones; a wrong one is soon given up."""
    k = answers.rows.shape[1]
    exact, given_up = _run_bounds(segment, queries, answers, threads, allowed, metric, patience=k - 1)
    return ~given_up & (exact.rows == answers.rows).all(axis=1)


def _run_bounds(
    segment: Segment,
    queries: Float32[np.ndarray, "q dim"],
    start: Answers,
    threads: int | None,
    allowed: UInt8[np.ndarray, " n"] | None,
    metric: str,
    patience: int,
) -> tuple[Answers, Bool[np.ndarray, " q"]]:
    k, codec = start.rows.shape[1], segment.codec
    answers = Answers(
        np.empty((len(queries), k), np.int64),
        np.empty((len(queries), k), np.float64),
        np.zeros((len(queries), 4), np.int64),
    )
    every = Stage(codec.dim, int(codec.bits.max()), k)
    funnel = codec.funnel(Plan(None, (Stage(*codec.head_rectangle, k), every)))
    parts, mask = part_bounds(codec.dim), _mask(allowed)
    floors = np.ascontiguousarray(start.scores[:, -1])
    kernel, kind = load_exact().exact_batch, METRICS[metric]

    def run(part: slice) -> None:
        kernel(
            queries[part], segment.cells, funnel, segment.vectors, parts, segment.longest, mask,
            kind, k, floors[part], patience, *(array[part] for array in answers),
        )  # fmt: skip

    share_out(run, len(queries), threads)
    given_up = answers.counts[:, 3] > 0
    counts = np.column_stack([np.full(len(queries), len(segment.cells.counts)), answers.counts[:, :3]])
    return answers._replace(counts=counts), given_up


def run_scan(
    vectors: Float32[np.ndarray, "n dim"],
    queries: Float32[np.ndarray, "q dim"],
    k: int,
    threads: int | None = None,
    allowed: UInt8[np.ndarray, " n"] | None = None,
    metric: str = "ip",
) -> Answers:
    """The `k` best of all (allowed) rows, each scored in full; `counts` are those rows."""
    answers = Answers(
        np.empty((len(queries), k), np.int64),
        np.empty((len(queries), k), np.float64),
        np.zeros((len(queries), 1), np.int64),
    )
    kernel, mask, kind = load_exact().scan_batch, _mask(allowed), METRICS[metric]

    def run(part: slice) -> None:
        kernel(queries[part], vectors, mask, kind, k, *(array[part] for array in answers))

    share_out(run, len(queries), threads)
    return answers


def _mask(allowed: UInt8[np.ndarray, " n"] | None) -> UInt8[np.ndarray, " n_or_0"]:
    return np.empty(0, np.uint8) if allowed is None else allowed


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
