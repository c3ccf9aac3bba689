"""Running a plan on one segment, its queries shared out over threads."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from nestvec.errors import DamagedIndexError, InputError
from nestvec.index.segment import Segment
from nestvec.kernels import load, load_exact
from nestvec.kernels.layout import COSINE, EUCLIDEAN, IP, part_bounds
from nestvec.plan import Plan
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

    with _damage(segment):
        share_out(run, len(queries), threads)
    return answers


def run_bounds(
    segment: Segment,
    queries: Float32[np.ndarray, "q dim"],
    k: int,
    floors: Float64[np.ndarray, " q"],
    threads: int | None = None,
    allowed: UInt8[np.ndarray, " n"] | None = None,
    metric: str = "ip",
    patience: int | None = None,
) -> tuple[Answers, Bool[np.ndarray, " q"]]:
    """The best `k` of all (allowed) rows that reach the query's floor: proven, by bounds.

    That is `kernels.reference.exact_one`, but for rows below the floor. `counts` are [all cells,
    rows bounded by their heads, rows bounded by all words, rows scored in full]. With `patience`, a
    query is given up once more than so many rows score above its floor; which, comes second.
    """
    codec = segment.codec
    answers = Answers(
        np.empty((len(queries), k), np.int64),
        np.empty((len(queries), k), np.float64),
        np.zeros((len(queries), 4), np.int64),
    )
    parts, mask, orthogonal = part_bounds(codec.dim), _mask(allowed), segment.defect
    kernel, kind, limit = (
        load_exact().exact_batch,
        METRICS[metric],
        k if patience is None else patience,
    )

    def run(part: slice) -> None:
        kernel(
            queries[part], segment.cells, codec.whole_funnel, segment.vectors, parts,
            segment.longest, orthogonal, mask, kind, k, floors[part], limit,
            *(array[part] for array in answers),
        )  # fmt: skip

    with _damage(segment):
        share_out(run, len(queries), threads)
    cells = np.full(len(queries), len(segment.cells.counts))
    counts = np.column_stack([cells, answers.counts[:, :3]])
    return answers._replace(counts=counts), answers.counts[:, 3] > 0


def run_scan(
    vectors: Float32[np.ndarray, "n dim"],
    candidates: Int64[np.ndarray, " m"],
    queries: Float32[np.ndarray, "q dim"],
    k: int,
    threads: int | None = None,
    metric: str = "ip",
) -> Answers:
    """The `k` best of the candidate rows, each scored in full; `counts` are how many there are."""
    answers = Answers(
        np.empty((len(queries), k), np.int64),
        np.empty((len(queries), k), np.float64),
        np.full((len(queries), 1), len(candidates)),
    )
    kernel, kind = load_exact().scan_batch, METRICS[metric]

    def run(part: slice) -> None:
        kernel(
            queries[part], vectors, candidates, kind, k, answers.rows[part], answers.scores[part]
        )

    share_out(run, len(queries), threads)
    return answers


def _mask(allowed: UInt8[np.ndarray, " n"] | None) -> UInt8[np.ndarray, " n_or_0"]:
    return np.empty(0, np.uint8) if allowed is None else allowed


@contextmanager
def _damage(segment: Segment) -> Iterator[None]:
    """Kernels follow a record only where it leads to something: else it is damaged."""
    try:
        yield
    except IndexError as e:
        raise DamagedIndexError(
            f"{segment.path} is damaged ({e}); restore it, or make it again with compact()"
        ) from None


def share_out(run: Callable[[slice], None], queries: int, threads: int | None) -> None:
    """`run` on slices of the queries, one per thread."""
    parts = _shares(queries, threads)
    if len(parts) == 1:
        run(parts[0])
        return
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(run, parts))


def check_threads(threads: int | None) -> None:
    """`InputError` unless it is at least 1, or None for all cores."""
    if threads is not None and threads < 1:
        raise InputError(f"threads={threads} is below 1; use at least 1, or None for all cores")


def _shares(queries: int, threads: int | None) -> list[slice]:
    """Slices of the batch: one per thread, none empty but for an empty batch."""
    workers = max(1, min(threads or os.cpu_count() or 1, queries))
    bounds = [queries * i // workers for i in range(workers + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]
