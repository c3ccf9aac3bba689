"""Search one segment by a plan or by bounds, with queries shared over threads."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from nestvec.errors import DamagedIndexError
from nestvec.index.storage.coded_segment import Segment
from nestvec.kernels import load, load_exact
from nestvec.kernels.backend import SearchOptions, TopK
from nestvec.kernels.layout import COSINE, EUCLIDEAN, IP
from nestvec.parallel import run_in_slices
from nestvec.plan import Plan
from nestvec.shapes import Bool, Float32, Float64, Int64, UInt8

METRICS = {"ip": IP, "cosine": COSINE, "euclidean": EUCLIDEAN}
_ALL_ROWS = np.empty(0, np.uint8)
"""The mask by which kernels allow all rows."""


class SegmentHits(NamedTuple):
    """Hits of one segment: rows numbered within it, best first."""

    rows: Int64[np.ndarray, "q k"]
    scores: Float64[np.ndarray, "q k"]
    counts: Int64[np.ndarray, "q counts"]
    """[cells probed, rows per stage…, rows scored in full] of each query; of a scan the last."""

    @classmethod
    def empty(cls, queries: int, k: int, counts: int) -> "SegmentHits":
        """Allocate arrays for a kernel to fill."""
        return cls(
            np.empty((queries, k), np.int64),
            np.empty((queries, k), np.float64),
            np.zeros((queries, counts), np.int64),
        )

    @property
    def is_scan(self) -> bool:
        """Tell whether all live rows were scored in full, so that the hits are exact."""
        return bool(self.counts.shape[1] == 1)

    def is_full(self, k: int) -> bool:
        """Tell whether every query has `k` hits: the last would be missing first."""
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
    """Search the `k` best rows of the segment for each query by `plan`.

    Hits are among the rows that are `allowed` (1, by row; None: all). Places without a hit hold row
    −1 and score −∞. `threads` (None: all cores) share the queries, and do not change the hits.
    """
    hits = SegmentHits.empty(len(queries), k, len(plan.stages) + 2)
    kernel, packed = load().search_batch, segment.derived.segment_plan(plan)
    options = SearchOptions(METRICS[metric], k, _ALL_ROWS if allowed is None else allowed)

    def search_slice(queries: np.ndarray, *top_k: np.ndarray) -> None:
        kernel(queries, segment.packed, packed, options, TopK(*top_k))

    try:
        run_in_slices(search_slice, (queries, *hits), threads)
    except IndexError as e:
        raise _damaged(segment, e) from None
    return hits


def search_until_full(
    segment: Segment,
    queries: Float32[np.ndarray, "q dim"],
    k: int,
    plan: Plan,
    threads: int | None,
    allowed: UInt8[np.ndarray, " n"],
    metric: str,
) -> SegmentHits:
    """Search by the plan, then with twice the cells again and again for queries short of `k` hits.

    At least `k` rows must be allowed. A kernel probes until cells hold `k` rows, allowed or not, so
    that fewer than `k` of them may be hits. `counts` add up all searches.
    """
    hits = search_plan(segment, queries, k, plan, threads, allowed, metric)
    if plan.probe is None or hits.is_full(k):
        return hits
    probed, probe = hits.counts[:, 0].copy(), plan.probe
    while probe < segment.probeable_cells:  # all allowed rows lie in those
        probe *= 2
        short = np.flatnonzero((hits.rows[:, -1] < 0) & (probed < probe))
        if not len(short):
            continue
        wider = replace(plan, probe=probe)
        wider_hits = search_plan(segment, queries[short], k, wider, threads, allowed, metric)
        hits.rows[short], hits.scores[short] = wider_hits.rows, wider_hits.scores
        hits.counts[short] += wider_hits.counts
        probed[short] = wider_hits.counts[:, 0]
    return hits


def search_by_bounds(
    segment: Segment,
    queries: Float32[np.ndarray, "q dim"],
    k: int,
    floors: Float64[np.ndarray, " q"],
    threads: int | None = None,
    allowed: UInt8[np.ndarray, " n"] | None = None,
    metric: str = "ip",
    max_above_floor: int | None = None,
) -> tuple[SegmentHits, Bool[np.ndarray, " q"]]:
    """Search the exact `k` best of the allowed rows that reach the query's floor, by bounds.

    The hits are those of `kernels.reference.exact_one` without rows below the floor. `counts` are
    [all cells, rows bounded by their heads, rows bounded by all words, rows scored in full]. The
    search of a query stops early once more than `max_above_floor` rows score above its floor; the
    second array marks these queries.
    """
    hits = SegmentHits.empty(len(queries), k, 4)
    kernel, bounds = load_exact().exact_batch, segment.derived.bounds
    options = SearchOptions(METRICS[metric], k, _ALL_ROWS if allowed is None else allowed)
    limit = k if max_above_floor is None else max_above_floor

    def search_slice(queries: np.ndarray, floors: np.ndarray, *top_k: np.ndarray) -> None:
        kernel(queries, floors, segment.packed, bounds, options, limit, TopK(*top_k))

    try:
        run_in_slices(search_slice, (queries, floors, *hits), threads)
    except IndexError as e:
        raise _damaged(segment, e) from None
    cells = np.full(len(queries), len(segment.cells.counts))
    counts = np.column_stack([cells, hits.counts[:, :3]])
    return hits._replace(counts=counts), hits.counts[:, 3] > 0


def scan_rows(
    vectors: Float32[np.ndarray, "n dim"],
    candidates: Int64[np.ndarray, " m"],
    queries: Float32[np.ndarray, "q dim"],
    k: int,
    threads: int | None = None,
    metric: str = "ip",
) -> SegmentHits:
    """Search the `k` best candidate rows, all scored in full; `counts` are their number."""
    hits = SegmentHits.empty(len(queries), k, 1)
    kernel, kind = load_exact().scan_batch, METRICS[metric]

    def search_slice(queries: np.ndarray, *top_k: np.ndarray) -> None:
        kernel(queries, vectors, candidates, kind, k, TopK(*top_k))

    run_in_slices(search_slice, (queries, *hits), threads)
    return hits


def _damaged(segment: Segment, error: IndexError) -> DamagedIndexError:
    """Make the error of a record with a row or a cell that does not exist; kernels check both."""
    return DamagedIndexError(
        f"{segment.path} is damaged ({error}); restore it, or make it again with compact()"
    )
