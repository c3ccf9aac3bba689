"""Searching all parts of a snapshot, and making one answer of theirs."""

from collections.abc import Sequence

import numpy as np

from nestvec.index.hits import Hits, SearchStats, StageStats
from nestvec.index.nearest import nearest
from nestvec.index.run import Answers, run_plan
from nestvec.index.snapshot import Part, Snapshot
from nestvec.plan import Plan
from nestvec.shapes import Float32, Int64


def search_parts(
    snapshot: Snapshot,
    queries: Float32[np.ndarray, "q dim"],
    k: int,
    plan: Plan,
    threads: int | None,
) -> Hits:
    """The `k` best live rows of all parts; equal scores go to the smaller row number.

    Parts are in order of their row numbers, and each answers equal scores by rising row: a stable
    sort is all that is needed. Where fewer rows are found, the rest is row −1 with score −∞.
    """
    # One part even if none has a row: it knows what ids are.
    parts = [part for part in snapshot.parts if part.count] or list(snapshot.parts[:1])
    answers = [_run(part, queries, min(k, part.count), plan, threads) for part in parts]
    scores = np.concatenate([answer.scores for answer in answers], axis=1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    numbers = np.concatenate(
        [_numbers(part, answer.rows) for part, answer in zip(parts, answers, strict=True)], axis=1
    )
    found = np.take_along_axis(numbers, best, axis=1)
    ids = _ids(parts, answers, best)
    no_id = None if ids.dtype == object else -1
    ids[found < 0] = no_id
    return Hits(
        _padded(ids, k, no_id),
        _padded(np.take_along_axis(scores, best, axis=1).astype(np.float32), k, -np.inf),
        _padded(found, k, -1),
        _stats(parts, answers, plan),
    )


def _padded(array: np.ndarray, k: int, value: int | float | None) -> np.ndarray:
    wide = np.full((len(array), k), value, array.dtype)
    wide[:, : array.shape[1]] = array
    return wide


def _run(
    part: Part,
    queries: Float32[np.ndarray, "q dim"],
    k: int,
    plan: Plan,
    threads: int | None,
) -> Answers:
    if part.coded is not None and part.live is None:
        return run_plan(part.coded, queries, k, plan, threads)
    return _scan(part, queries, k, plan)


def _scan(part: Part, queries: Float32[np.ndarray, "q dim"], k: int, plan: Plan) -> Answers:
    live = np.arange(len(part.rows)) if part.live is None else np.flatnonzero(part.live)
    rows, scores = nearest(part.rows.vectors, live, queries, k)
    counts = np.zeros((len(queries), len(plan.stages) + 2), np.int64)
    counts[:, -1] = part.count
    return Answers(rows, scores, counts)


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
    queries = len(answers[0].rows)
    dim = parts[0].rows.vectors.shape[1]
    cells = probe_bytes = 0
    rows = np.zeros(len(plan.stages) + 1, np.int64)
    size_bytes = np.zeros(len(plan.stages) + 1, np.int64)
    for part, answer in zip(parts, answers, strict=True):
        totals = answer.counts.sum(axis=0)
        rows += totals[1:]
        size_bytes[-1] += totals[-1] * 4 * dim
        if part.coded is not None:
            words = np.diff(part.coded.codec.funnel(plan).starts)
            size_bytes[:-1] += totals[1:-1] * (8 * words + 4)
            cells += int(totals[0])
            probe_bytes += queries * part.coded.cells.centroids.nbytes
    names = [*map(str, plan.stages), "full"]
    stages = [
        StageStats(*stage)
        for stage in zip(names, rows.tolist(), size_bytes.tolist(), strict=True)
        if plan.full or stage[0] != "full" or stage[1]
    ]
    return SearchStats(queries, cells, probe_bytes, tuple(stages))
