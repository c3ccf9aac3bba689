"""Engines in turn, one thread, one query at a time; medians of interleaved rounds."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.search.dataset import Dataset, Truth, score_found
from benchmarks.search.engines.base import Setting
from nestvec.metrics import recall_at_k, recall_with_ties

TIE = 1e-6
"""Scores as near as this count as equal: float32 cannot tell them apart."""
ANN_BENCHMARKS = 1e-3
"""What ann-benchmarks and VIBE count as equal; near the end of a long list that is much."""
_LOWEST_RECALL = 0.75
_CLEARLY = 1.5
"""A setting this much slower than one that finds as much is not timed again."""


@dataclass(frozen=True)
class Effort:
    """How long to measure. Slow settings answer fewer queries, but at least `least`."""

    rounds: int = 5
    seconds: float = 1.0
    recall_seconds: float = 20.0
    least: int = 50
    warm_up: int = 20


@dataclass
class Measured:
    """One setting of one engine over all rounds."""

    engine: str
    setting: Setting
    recall: dict[str, float] = field(default_factory=dict)
    queries: int = 0
    """How many queries a round times."""
    wall: list[float] = field(default_factory=list)
    """Queries per second of each round."""
    cpu: list[float] = field(default_factory=list)
    """Queries per second of processor time: what a round would be if nothing else ran."""

    def as_json(self) -> dict[str, Any]:
        return {
            "engine": self.engine,
            "setting": self.setting.label,
            "is_default": self.setting.is_default,
            **{name: round(value, 5) for name, value in self.recall.items()},
            "queries_timed": self.queries,
            "queries_per_s": round(statistics.median(self.wall), 1),
            "queries_per_cpu_s": round(statistics.median(self.cpu), 1),
            "rounds": [round(value, 1) for value in self.wall],
        }


def measure(
    settings: dict[str, list[Setting]], data: Dataset, truth: Truth, k: int, effort: Effort,
    say: Callable[[str], None],
) -> list[Measured]:  # fmt: skip
    """Recall of every setting, then the speed of those on the interesting part of the curve."""
    queries = np.array(data.queries)  # rows of a memory map are slow to take
    found = []
    for name, grid in settings.items():
        say(f"recall of {name}")
        found += scouted(name, grid, data, queries, truth, k, effort)
    for round_ in range(effort.rounds):
        for one in found:
            time_once(one, queries, effort)
        say(f"round {round_ + 1} of {effort.rounds}")
    return found


def scouted(
    name: str, grid: list[Setting], data: Dataset, queries: np.ndarray, truth: Truth, k: int,
    effort: Effort,
) -> list[Measured]:  # fmt: skip
    """The settings worth timing: of useful recall, and not clearly beaten by another of the engine.

    The default is always among them.
    """
    tried: list[tuple[Measured, float]] = []
    for setting in grid:
        one = Measured(name, setting)
        seconds = find_recall(one, data, queries, truth, k, effort)
        one.queries = int(np.clip(effort.seconds / seconds, effort.least, len(queries)))
        tried.append((one, seconds))

    def beaten(one: Measured, seconds: float) -> bool:
        recall = one.recall["recall"]
        return any(
            other.recall["recall"] >= recall and _CLEARLY * s < seconds for other, s in tried
        )

    return [
        one
        for one, seconds in tried
        if one.setting.is_default
        or (one.recall["recall"] >= _LOWEST_RECALL and not beaten(one, seconds))
    ]


def find_recall(
    one: Measured, data: Dataset, queries: np.ndarray, truth: Truth, k: int, effort: Effort
) -> float:
    """Fill in the recalls by asking every query alone, as it is timed; seconds per query.

    Exact engines may be too slow for that: after `recall_seconds` the queries so far must do.
    """
    setting = one.setting
    setting.choose()
    ids = []
    start = time.perf_counter()
    for query in queries:
        ids.append(setting.one(query))
        if len(ids) >= effort.least and time.perf_counter() - start > effort.recall_seconds:
            break
    seconds = (time.perf_counter() - start) / len(ids)
    one.recall = recalls(np.asarray(ids), data, truth, k)
    return seconds


def recalls(ids: np.ndarray, data: Dataset, truth: Truth, k: int) -> dict[str, float]:
    """Recall by id, with ties, and as ann-benchmarks counts it (1e-3 absolute)."""
    asked = data._replace(queries=data.queries[: len(ids)])
    scores = score_found(asked, ids)
    kth = truth.scores[: len(ids), k - 1]
    return {
        "recall": float(recall_at_k(ids, truth.ids[: len(ids), :k], k).mean()),
        "recall_with_ties": float(recall_with_ties(ids, scores, kth, k, TIE).mean()),
        "recall_ann_benchmarks": float(
            recall_with_ties(ids, scores, kth, k, ANN_BENCHMARKS).mean()
        ),
    }


def time_once(one: Measured, queries: np.ndarray, effort: Effort) -> None:
    """Ask the queries one by one, after a few that bring the index back into the caches."""
    ask = one.setting.one
    one.setting.choose()
    for query in queries[-effort.warm_up :]:
        ask(query)
    asked = queries[: one.queries]
    start, start_cpu = time.perf_counter(), time.process_time()
    for query in asked:
        ask(query)
    cpu, wall = time.process_time() - start_cpu, time.perf_counter() - start
    one.wall.append(len(asked) / wall)
    one.cpu.append(len(asked) / cpu)


def time_batches(
    setting: Setting, queries: np.ndarray, threads: tuple[int, ...], effort: Effort
) -> dict[str, float]:
    """Queries/s of one batch of all queries on each number of threads, in turn, medians."""
    rounds: dict[int, list[float]] = {count: [] for count in threads}
    setting.choose()
    for count in threads:
        setting.batch(queries[: effort.warm_up], count)
    for _ in range(effort.rounds):
        for count in threads:
            start = time.perf_counter()
            setting.batch(queries, count)
            rounds[count].append(len(queries) / (time.perf_counter() - start))
    return {str(count): round(statistics.median(v), 1) for count, v in rounds.items()}
