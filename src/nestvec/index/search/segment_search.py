"""Running a plan on one segment, its queries shared out over threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from nestvec.errors import DamagedIndexError, InputError
from nestvec.index.storage.coded_segment import Segment
from nestvec.kernels import load, load_exact
from nestvec.kernels.backend import SearchOptions, TopK
from nestvec.kernels.layout import COSINE, EUCLIDEAN, IP
from nestvec.plan import Plan
from nestvec.shapes import Bool, Float32, Float64, Int64, UInt8

METRICS = {"ip": IP, "cosine": COSINE, "euclidean": EUCLIDEAN}
_ALL = np.empty(0, np.uint8)
"""What kernels take for a mask that allows all rows."""


class SegmentHits(NamedTuple):
    """What one segment answers: its own row numbers, best first."""

    rows: Int64[np.ndarray, "q k"]
    scores: Float64[np.ndarray, "q k"]
    counts: Int64[np.ndarray, "q counts"]
    """[cells probed, rows per stage…, rows scored in full] of each query."""

    @classmethod
    def blank(cls, queries: int, k: int, counts: int) -> "SegmentHits":
        """To be filled in by a kernel."""
        return cls(
            np.empty((queries, k), np.int64),
            np.empty((queries, k), np.float64),
            np.zeros((queries, counts), np.int64),
        )

    def fill(self, k: int) -> bool:
        """Whether every query has `k` answers: the last would be missing first."""
        # As a list: NumPy takes five times as long over the few numbers of a small batch.
        return self.rows.shape[1] == k and -1 not in self.rows[:, -1].tolist()


def search_plan(
    segment: Segment,
    queries: Float32[np.ndarray, "q dim"],
    k: int,
    plan: Plan,
    threads: int | None = None,
    allowed: UInt8[np.ndarray, " n"] | None = None,
    metric: str = "ip",
) -> SegmentHits:
    """The `k` best rows of the segment for each query, as `plan` finds them.

    Only rows that are `allowed` (1, by row; None: all) are found; places that stay empty hold row
    −1 and score −inf. `threads` (None: all cores) share out the queries; the answer does not depend
    on them.
    """
    answers = SegmentHits.blank(len(queries), k, len(plan.stages) + 2)
    kernel, packed = load().search_batch, segment.derived.segment_plan(plan)
    options = SearchOptions(METRICS[metric], k, _ALL if allowed is None else allowed)

    def run(queries: np.ndarray, *out: np.ndarray) -> None:
        kernel(queries, segment.packed, packed, options, TopK(*out))

    try:
        share_out(run, (queries, *answers), threads)
    except IndexError as e:
        raise _damaged(segment, e) from None
    return answers


def search_until_full(
    segment: Segment,
    queries: Float32[np.ndarray, "q dim"],
    k: int,
    plan: Plan,
    threads: int | None,
    allowed: UInt8[np.ndarray, " n"],
    metric: str,
) -> SegmentHits:
    """As `run_plan`, with twice the cells, and again, for each query that finds fewer than `k`.

    At least `k` rows must be allowed. A kernel probes until cells hold `k` rows, allowed or not;
    only its answer tells how many of them were allowed. `counts` are of all that was read.
    """
    answers = search_plan(segment, queries, k, plan, threads, allowed, metric)
    if plan.probe is None or answers.fill(k):
        return answers
    probed, probe = answers.counts[:, 0].copy(), plan.probe
    while probe < segment.held_cells:  # all allowed rows lie in those
        probe *= 2
        short = np.flatnonzero((answers.rows[:, -1] < 0) & (probed < probe))
        if not len(short):
            continue
        wider = replace(plan, probe=probe)
        more = search_plan(segment, queries[short], k, wider, threads, allowed, metric)
        answers.rows[short], answers.scores[short] = more.rows, more.scores
        answers.counts[short] += more.counts
        probed[short] = more.counts[:, 0]
    return answers


def search_by_bounds(
    segment: Segment,
    queries: Float32[np.ndarray, "q dim"],
    k: int,
    floors: Float64[np.ndarray, " q"],
    threads: int | None = None,
    allowed: UInt8[np.ndarray, " n"] | None = None,
    metric: str = "ip",
    patience: int | None = None,
) -> tuple[SegmentHits, Bool[np.ndarray, " q"]]:
    """The best `k` of all (allowed) rows that reach the query's floor: proven, by bounds.

    That is `kernels.reference.exact_one`, but for rows below the floor. `counts` are [all cells,
    rows bounded by their heads, rows bounded by all words, rows scored in full]. With `patience`, a
    query is given up once more than so many rows score above its floor; which, comes second.
    """
    answers = SegmentHits.blank(len(queries), k, 4)
    kernel, bounds = load_exact().exact_batch, segment.derived.bounds
    options = SearchOptions(METRICS[metric], k, _ALL if allowed is None else allowed)
    limit = k if patience is None else patience

    def run(queries: np.ndarray, floors: np.ndarray, *out: np.ndarray) -> None:
        kernel(queries, floors, segment.packed, bounds, options, limit, TopK(*out))

    try:
        share_out(run, (queries, floors, *answers), threads)
    except IndexError as e:
        raise _damaged(segment, e) from None
    cells = np.full(len(queries), len(segment.cells.counts))
    counts = np.column_stack([cells, answers.counts[:, :3]])
    return answers._replace(counts=counts), answers.counts[:, 3] > 0


def scan_rows(
    vectors: Float32[np.ndarray, "n dim"],
    candidates: Int64[np.ndarray, " m"],
    queries: Float32[np.ndarray, "q dim"],
    k: int,
    threads: int | None = None,
    metric: str = "ip",
) -> SegmentHits:
    """The `k` best of the candidate rows, each scored in full; `counts` are how many there are."""
    answers = SegmentHits.blank(len(queries), k, 1)
    kernel, kind = load_exact().scan_batch, METRICS[metric]

    def run(queries: np.ndarray, *out: np.ndarray) -> None:
        kernel(queries, vectors, candidates, kind, k, TopK(*out))

    share_out(run, (queries, *answers), threads)
    return answers


def _damaged(segment: Segment, error: IndexError) -> DamagedIndexError:
    """Kernels follow a record only where it leads to something: else it is damaged."""
    return DamagedIndexError(
        f"{segment.path} is damaged ({error}); restore it, or make it again with compact()"
    )


def share_out(
    run: Callable[..., None], arrays: tuple[np.ndarray, ...], threads: int | None
) -> None:
    """`run` on slices of the arrays, which have a row per query: one slice of each per thread."""
    queries = len(arrays[0])
    # One query, the commonest batch, is not worth counting the cores for.
    workers = 1 if queries < 2 else min(threads or os.cpu_count() or 1, queries)
    if workers == 1:
        run(*arrays)
        return
    bounds = [queries * i // workers for i in range(workers + 1)]
    slices = [[array[a:b] for a, b in pairwise(bounds)] for array in arrays]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, *slices))


def check_threads(threads: int | None) -> None:
    """`InputError` unless it is at least 1, or None for all cores."""
    if threads is not None and threads < 1:
        raise InputError(f"threads={threads} is below 1; use at least 1, or None for all cores")
