"""Searching all parts of a snapshot, and making one answer of theirs."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from nestvec.hits import Hits, SearchStats, StageStats
from nestvec.index.search.filtered_plan import few, widened
from nestvec.index.search.segment_search import (
    Answers,
    run_bounds,
    run_plan,
    run_scan,
    run_until_full,
)
from nestvec.index.snapshot import Part, Snapshot
from nestvec.kernels.layout import PARTS
from nestvec.plan import Plan
from nestvec.shapes import Bool, Float32, Float64, Int64


class Question(NamedTuple):
    """What is asked of every part."""

    queries: Float32[np.ndarray, "q dim"]
    k: int
    plan: Plan
    threads: int | None
    metric: str


def search_parts(snapshot: Snapshot, question: Question) -> Hits:
    """The `k` best live rows of all parts as the plan finds them; equal scores go by row number."""
    parts = snapshot.searched
    answers = [_run(part, question) for part in parts]
    best = _Best.of(parts, answers, question.k)
    proven = np.zeros(len(question.queries), bool)
    return best.hits(proven, lambda: _stats(parts, answers, question.plan))


def search_exactly(snapshot: Snapshot, question: Question) -> Hits:
    """The exact `k` best live rows of all parts, and the proof: a search by the plan comes first.

    Its k-th best score is what the bounds of all other rows are held against.
    """
    parts = snapshot.searched
    first = [_run(part, question) for part in parts]
    best = _Best.of(parts, first, question.k)
    proofs = [_prove(part, question, best.floors, None) for part in parts]
    answers = [answer for answer, _ in proofs]
    exact = _Best.of(parts, answers, question.k)
    return exact.hits(
        np.ones(len(question.queries), bool),
        lambda: _stats(parts, first, question.plan) + _exact_stats(parts, answers),
    )


def search_certified(snapshot: Snapshot, question: Question) -> Hits:
    """What `search_parts` answers, and for each query whether that is proven to be exact.

    A wrong answer is given up at the k-th row that is better than its last.
    """
    parts = snapshot.searched
    first = [_run(part, question) for part in parts]
    best = _Best.of(parts, first, question.k)
    proofs = [_prove(part, question, best.floors, question.k - 1) for part in parts]
    answers = [answer for answer, _ in proofs]
    proven = ~np.any([given_up for _, given_up in proofs], axis=0)
    proven &= (_Best.of(parts, answers, question.k).numbers == best.numbers).all(axis=1)
    return best.hits(
        proven, lambda: _stats(parts, first, question.plan) + _exact_stats(parts, answers)
    )


def _run(part: Part, question: Question) -> Answers:
    k, plan = min(question.k, part.count), question.plan
    queries, threads, metric = question.queries, question.threads, question.metric
    if part.coded is None:
        return _scan(part, question)
    if part.live is None:
        return run_plan(part.coded, queries, k, plan, threads, None, metric)
    held, cells = part.coded.held_cells, len(part.coded.cells.counts)
    wider = widened(plan, part.count, len(part.rows), held, cells)
    if wider is None:
        return _scan(part, question)
    return run_until_full(part.coded, queries, k, wider, threads, part.live, metric)


def _scan(part: Part, question: Question) -> Answers:
    """The live rows of a part, all scored in full, whatever the plan."""
    live = np.arange(len(part.rows)) if part.live is None else np.flatnonzero(part.live.view(bool))
    k, vectors = min(question.k, part.count), part.rows.vectors
    return run_scan(vectors, live, question.queries, k, question.threads, question.metric)


def _prove(
    part: Part,
    question: Question,
    floors: Float64[np.ndarray, " q"],
    patience: int | None,
) -> tuple[Answers, Bool[np.ndarray, " q"]]:
    if part.coded is None or few(part.count, len(part.rows)):
        return _scan(part, question), np.zeros(len(floors), bool)
    k = min(question.k, part.count)
    return run_bounds(
        part.coded, question.queries, k, floors, question.threads, part.live, question.metric,
        patience,
    )  # fmt: skip


class _Best(NamedTuple):
    """The best of what several parts answer.

    Parts are in order of their row numbers, and each answers equal scores by rising row: a stable
    sort is all that is needed. Where fewer rows are found, the rest is row −1 with score −∞.
    """

    numbers: Int64[np.ndarray, "q k"]
    scores: Float64[np.ndarray, "q k"]
    ids: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[Part], answers: Sequence[Answers], k: int) -> "_Best":
        if len(answers) == 1 and answers[0].fill(k):
            rows, held = answers[0].rows, parts[0].rows
            return cls(held.numbers[rows], answers[0].scores, held.ids[rows])
        scores = np.concatenate([answer.scores for answer in answers], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        numbers = np.concatenate(
            [_numbers(part, answer.rows) for part, answer in zip(parts, answers, strict=True)],
            axis=1,
        )
        found = np.take_along_axis(numbers, best, axis=1)
        ids = _ids(parts, answers, best)
        no_id = None if ids.dtype == object else -1
        ids[found < 0] = no_id
        scores = np.take_along_axis(scores, best, axis=1)
        return cls(_padded(found, k, -1), _padded(scores, k, -np.inf), _padded(ids, k, no_id))

    @property
    def floors(self) -> Float64[np.ndarray, " q"]:
        """What the k-th best is known to reach."""
        return np.ascontiguousarray(self.scores[:, -1])

    def hits(self, certified: Bool[np.ndarray, " q"], measure: Callable[[], SearchStats]) -> Hits:
        return Hits(self.ids, self.scores.astype(np.float32), self.numbers, certified, measure)


def _padded(array: np.ndarray, k: int, value: int | float | None) -> np.ndarray:
    wide = np.full((len(array), k), value, array.dtype)
    wide[:, : array.shape[1]] = array
    return wide


def _numbers(part: Part, rows: Int64[np.ndarray, "q k"]) -> Int64[np.ndarray, "q k"]:
    """Row numbers of local rows; −1, which stands for no row, stays."""
    return np.where(rows < 0, -1, part.rows.numbers[rows])


def _ids(
    parts: Sequence[Part], answers: Sequence[Answers], best: Int64[np.ndarray, "q k"]
) -> np.ndarray:
    """The id of each answer: only those of rows that are in the end answered are looked up."""
    found = np.empty(best.shape, parts[0].rows.ids.dtype)
    first = 0
    for part, answer in zip(parts, answers, strict=True):
        width = answer.rows.shape[1]
        mine = (best >= first) & (best < first + width)
        query, _ = np.nonzero(mine)
        found[mine] = part.rows.ids[answer.rows[query, best[mine] - first]]
        first += width
    return found


def _stats(parts: Sequence[Part], answers: Sequence[Answers], plan: Plan) -> SearchStats:
    queries, cells, probe_bytes, full = len(answers[0].rows), 0, 0, 0
    rows = np.zeros(len(plan.stages), np.int64)
    size_bytes = np.zeros(len(plan.stages), np.int64)
    for part, answer in zip(parts, answers, strict=True):
        totals = answer.counts.sum(axis=0)
        full += int(totals[-1])
        # A part may have been scored in full, whatever the plan.
        if part.coded is not None and len(totals) == len(plan.stages) + 2:
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


def _exact_stats(parts: Sequence[Part], answers: Sequence[Answers]) -> tuple[StageStats, ...]:
    """What the proof read; rows of parts without codes are counted by the plan."""
    totals, head, words = np.zeros(4, np.int64), 0, 0
    for part, answer in zip(parts, answers, strict=True):
        counts = answer.counts.sum(axis=0)
        if part.coded is not None and len(counts) == 1:
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


def _full_bytes(parts: Sequence[Part], rows: int) -> int:
    return rows * 4 * int(parts[0].rows.vectors.shape[1])
