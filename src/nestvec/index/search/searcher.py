"""Search all segments of a snapshot and merge their hits."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from nestvec.hits import Hits, SearchStats, StageStats
from nestvec.index.search.filtered_plan import plan_for_filter, scan_is_cheaper
from nestvec.index.search.segment_search import (
    SegmentHits,
    scan_rows,
    search_by_bounds,
    search_plan,
    search_until_full,
)
from nestvec.index.snapshot import LiveSegment, Snapshot
from nestvec.kernels.layout import PARTS
from nestvec.plan import Plan
from nestvec.shapes import Bool, Float32, Float64, Int64


class SearchRequest(NamedTuple):
    """A search as every segment sees it: queries, k, plan, threads and metric."""

    queries: Float32[np.ndarray, "q dim"]
    k: int
    plan: Plan
    threads: int | None
    metric: str


def search_segments(snapshot: Snapshot, request: SearchRequest) -> Hits:
    """Search by the plan and merge the `k` best live rows; ties go to the smaller row."""
    parts = snapshot.searched
    answers = [_search_segment(part, request) for part in parts]
    best = _MergedHits.merge(parts, answers, request.k)
    proven = np.zeros(len(request.queries), bool)
    return best.hits(proven, request.plan, lambda: _stats(parts, answers, request.plan))


def no_hits(request: SearchRequest, certified: bool) -> Hits:
    """Make the hits of an index without rows: padding alone, which is exact."""
    shape = len(request.queries), request.k
    return Hits(
        np.full(shape, -1),
        np.full(shape, -np.inf, np.float32),
        np.full(shape, -1),
        np.full(shape[0], certified),
        request.plan,
        lambda: SearchStats(shape[0], 0, 0, ()),
    )


def search_exact(snapshot: Snapshot, request: SearchRequest) -> Hits:
    """Search the exact `k` best live rows, with proof.

    A search by the plan comes first: its k-th best score is what the bounds of all other rows are
    compared with.
    """
    parts = snapshot.searched
    first = [_search_segment(part, request) for part in parts]
    best = _MergedHits.merge(parts, first, request.k)
    proofs = _prove_segments(parts, first, request, best.floors, None)
    answers = [answer for answer, _ in proofs]
    exact = _MergedHits.merge(parts, answers, request.k)
    return exact.hits(
        np.ones(len(request.queries), bool),
        request.plan,
        lambda: _stats(parts, first, request.plan) + _exact_stats(parts, first, answers),
    )


def search_with_certificates(snapshot: Snapshot, request: SearchRequest) -> Hits:
    """Search by the plan, and certify the hits of each query that are proven to be exact.

    The proof of a query stops at the k-th row that scores above its last hit: it has failed then.
    """
    parts = snapshot.searched
    first = [_search_segment(part, request) for part in parts]
    best = _MergedHits.merge(parts, first, request.k)
    proofs = _prove_segments(parts, first, request, best.floors, request.k - 1)
    answers = [answer for answer, _ in proofs]
    proven = ~np.any([stopped for _, stopped in proofs], axis=0)
    proven &= (_MergedHits.merge(parts, answers, request.k).numbers == best.numbers).all(axis=1)
    return best.hits(
        proven,
        request.plan,
        lambda: _stats(parts, first, request.plan) + _exact_stats(parts, first, answers),
    )


def _search_segment(part: LiveSegment, request: SearchRequest) -> SegmentHits:
    k, plan = min(request.k, part.count), request.plan
    queries, threads, metric = request.queries, request.threads, request.metric
    if part.coded is None:
        return _scan_segment(part, request)
    if part.live is None:
        return search_plan(part.coded, queries, k, plan, threads, None, metric)
    cells_with_rows, cells = part.coded.probeable_cells, len(part.coded.cells.counts)
    wider = plan_for_filter(plan, part.count, len(part.rows), cells_with_rows, cells)
    if wider is None:
        return _scan_segment(part, request)
    return search_until_full(part.coded, queries, k, wider, threads, part.live, metric)


def _scan_segment(part: LiveSegment, request: SearchRequest) -> SegmentHits:
    """Score all live rows of a segment in full, whatever the plan."""
    live = np.arange(len(part.rows)) if part.live is None else np.flatnonzero(part.live.view(bool))
    k, vectors = min(request.k, part.count), part.rows.vectors
    return scan_rows(vectors, live, request.queries, k, request.threads, request.metric)


def _prove_segments(
    parts: Sequence[LiveSegment],
    first: Sequence[SegmentHits],
    request: SearchRequest,
    floors: Float64[np.ndarray, " q"],
    max_above_floor: int | None,
) -> list[tuple[SegmentHits, Bool[np.ndarray, " q"]]]:
    """Search the exact hits that reach the floors; a segment that was scanned is not read again."""
    unstopped = np.zeros(len(floors), bool)
    return [
        (hits, unstopped)
        if hits.is_scan
        else _prove_segment(part, request, floors, max_above_floor)
        for part, hits in zip(parts, first, strict=True)
    ]


def _prove_segment(
    part: LiveSegment,
    request: SearchRequest,
    floors: Float64[np.ndarray, " q"],
    max_above_floor: int | None,
) -> tuple[SegmentHits, Bool[np.ndarray, " q"]]:
    if part.coded is None or scan_is_cheaper(part.count, len(part.rows)):
        return _scan_segment(part, request), np.zeros(len(floors), bool)
    k = min(request.k, part.count)
    return search_by_bounds(
        part.coded, request.queries, k, floors, request.threads, part.live, request.metric,
        max_above_floor,
    )  # fmt: skip


class _MergedHits(NamedTuple):
    """The best hits of several segments, merged.

    Segments are in order of their row numbers, and each orders equal scores by rising row, so a
    stable sort suffices. Places without a hit hold row −1 and score −∞.
    """

    numbers: Int64[np.ndarray, "q k"]
    scores: Float64[np.ndarray, "q k"]
    ids: np.ndarray

    @classmethod
    def merge(
        cls, parts: Sequence[LiveSegment], answers: Sequence[SegmentHits], k: int
    ) -> "_MergedHits":
        if len(answers) == 1 and answers[0].is_full(k):
            rows, segment_rows = answers[0].rows, parts[0].rows
            return cls(segment_rows.numbers[rows], answers[0].scores, segment_rows.ids[rows])
        scores = np.concatenate([answer.scores for answer in answers], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        numbers = np.concatenate(
            [_numbers(part, answer.rows) for part, answer in zip(parts, answers, strict=True)],
            axis=1,
        )
        best_numbers = np.take_along_axis(numbers, best, axis=1)
        ids = _ids(parts, answers, best)
        no_id = None if ids.dtype == object else -1
        ids[best_numbers < 0] = no_id
        scores = np.take_along_axis(scores, best, axis=1)
        return cls(
            _padded(best_numbers, k, -1), _padded(scores, k, -np.inf), _padded(ids, k, no_id)
        )

    @property
    def floors(self) -> Float64[np.ndarray, " q"]:
        """The k-th best score of each query."""
        return np.ascontiguousarray(self.scores[:, -1])

    def hits(
        self,
        certified: Bool[np.ndarray, " q"],
        plan: Plan,
        compute_stats: Callable[[], SearchStats],
    ) -> Hits:
        return Hits(
            self.ids, self.scores.astype(np.float32), self.numbers, certified, plan, compute_stats
        )


def _padded(array: np.ndarray, k: int, value: int | float | None) -> np.ndarray:
    wide = np.full((len(array), k), value, array.dtype)
    wide[:, : array.shape[1]] = array
    return wide


def _numbers(part: LiveSegment, rows: Int64[np.ndarray, "q k"]) -> Int64[np.ndarray, "q k"]:
    """Turn rows of a segment into row numbers of the index; −1, for no row, stays."""
    return np.where(rows < 0, -1, part.rows.numbers[rows])


def _ids(
    parts: Sequence[LiveSegment], answers: Sequence[SegmentHits], best: Int64[np.ndarray, "q k"]
) -> np.ndarray:
    """Look up the ids of the merged hits alone."""
    ids = np.empty(best.shape, parts[0].rows.ids.dtype)
    first = 0
    for part, answer in zip(parts, answers, strict=True):
        width = answer.rows.shape[1]
        mine = (best >= first) & (best < first + width)
        query, _ = np.nonzero(mine)
        ids[mine] = part.rows.ids[answer.rows[query, best[mine] - first]]
        first += width
    return ids


def _stats(parts: Sequence[LiveSegment], answers: Sequence[SegmentHits], plan: Plan) -> SearchStats:
    queries, cells, probe_bytes, full = len(answers[0].rows), 0, 0, 0
    rows = np.zeros(len(plan.stages), np.int64)
    size_bytes = np.zeros(len(plan.stages), np.int64)
    for part, answer in zip(parts, answers, strict=True):
        totals = answer.counts.sum(axis=0)
        full += int(totals[-1])
        # A segment may have been scored in full, whatever the plan.
        if part.coded is not None and not answer.is_scan:
            words = np.diff(part.coded.codec.funnel(plan).starts)
            rows += totals[1:-1]
            size_bytes += totals[1:-1] * (8 * words + 4)
            cells += int(totals[0])
            probe_bytes += queries * part.coded.cells.centroids.nbytes
    stages = [
        StageStats(*stage)
        for stage in zip(map(str, plan.stages), rows.tolist(), size_bytes.tolist(), strict=True)
    ]
    if plan.full or full:
        stages.append(StageStats("full", full, _full_bytes(parts, full)))
    return SearchStats(queries, cells, probe_bytes, tuple(stages))


def _exact_stats(
    parts: Sequence[LiveSegment], first: Sequence[SegmentHits], answers: Sequence[SegmentHits]
) -> tuple[StageStats, ...]:
    """Sum up what the proof read; segments that the plan scanned are counted by the plan."""
    totals, head, words = np.zeros(4, np.int64), 0, 0
    for part, by_plan, answer in zip(parts, first, answers, strict=True):
        counts = answer.counts.sum(axis=0)
        if by_plan.is_scan:
            continue
        if answer.is_scan:
            totals[3] += counts[0]
        elif part.coded is not None:
            totals += counts
            # Words, scale and the errors of a head; a record.
            head += int(counts[1]) * (8 * len(part.coded.codec.head) + 4 + 2 * PARTS)
            words += int(counts[2]) * part.coded.cells.records[:1].nbytes
    _, bounded, closer, full = totals.tolist()
    return (
        StageStats("bounds by heads", bounded, head),
        StageStats("bounds by all words", closer, words),
        StageStats("full, proof", full, _full_bytes(parts, full)),
    )


def _full_bytes(parts: Sequence[LiveSegment], rows: int) -> int:
    return rows * 4 * int(parts[0].rows.vectors.shape[1])
