"""Ways to search the same vectors, asked in turns: what each finds, reads and takes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from nestvec.extras import require
from nestvec.index import Index
from nestvec.progress import Progress, silent
from nestvec.shapes import Float32, Float64, Int64
from nestvec.vectors import truncate

K = 10

Kind = Literal["float scan", "float prefix", "codes", "codes, then full", "default plan"]


class Answer(NamedTuple):
    """The hits of one query and their cost."""

    rows: Int64[np.ndarray, " k"]
    scan_bytes: float
    """Read per vector by the first stage, which touches every probed vector."""
    read_bytes: int
    """Read in all: cells, codes and full vectors."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to find the best `K` rows for a query."""

    name: str
    kind: Kind
    search: Callable[[Float32[np.ndarray, "1 dim"]], Answer]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """The hits and the cost of one method, over all queries and rounds."""

    rows: Int64[np.ndarray, "q k"]
    scan_bytes: float
    read_bytes: float
    """Mean per query."""
    times_s: Float64[np.ndarray, "rounds q"]

    @property
    def median_us(self) -> float:
        """Half of all single queries took less."""
        return float(1e6 * np.median(self.times_s))


def float_scan(
    name: str, kind: Kind, vectors: Float32[np.ndarray, "n dim"], dims: int | None = None
) -> Way:
    """NumPy's product with all vectors, or with the prefix `dims` of all of them."""
    stored = np.ascontiguousarray(vectors if dims is None else truncate(vectors, dims))

    def search(query: Float32[np.ndarray, "1 dim"]) -> Answer:
        # The query's prefix needs no unit length: that would scale its scores, not reorder them.
        scores = stored @ query[0, :dims]
        best = np.argpartition(-scores, K - 1)[:K]
        rows = best[np.lexsort((best, -scores[best]))]
        return Answer(rows, stored.nbytes / len(stored), stored.nbytes)

    return Way(name, kind, search)


def engine(name: str, kind: Kind, index: Index, plan: str) -> Way:
    """The index under `plan`, on one thread."""

    def search(query: Float32[np.ndarray, "1 dim"]) -> Answer:
        hits = index.search(query, K, plan=plan, threads=1)
        first = hits.stats.stages[0]
        return Answer(hits.rows[0], first.size_bytes / first.rows, hits.stats.size_bytes)

    return Way(name, kind, search)


def compare(
    ways: Sequence[Way],
    queries: Float32[np.ndarray, "q dim"],
    rounds: int,
    progress: Progress = silent,
) -> list[Trial]:
    """Ask every query of every way, one at a time on one thread, `rounds` times.

    The ways take turns within each round, so that a busy machine slows all of them alike. One
    unmeasured query each comes first: compiled kernels are loaded, memory maps are read.
    """
    limits = require("threadpoolctl", "demo").threadpool_limits
    answers: list[list[Answer]] = [[] for _ in ways]
    times_s = np.empty((len(ways), rounds, len(queries)))
    with limits(1), progress("Measuring", rounds * len(ways)) as advance:
        for way in ways:
            way.search(queries[:1])
        for turn in range(rounds):
            for i, way in enumerate(ways):
                # Every round gives the same answers: those of the last are kept.
                answers[i], times_s[i, turn] = _ask(way, queries)
                advance(1)
    return [_trial(methods, times) for methods, times in zip(answers, times_s, strict=True)]


def _ask(
    way: Way, queries: Float32[np.ndarray, "q dim"]
) -> tuple[list[Answer], Float64[np.ndarray, " q"]]:
    answers: list[Answer] = []
    times_s = np.empty(len(queries))
    for i in range(len(queries)):
        query = queries[i : i + 1]
        start = time.perf_counter()
        answers.append(way.search(query))
        times_s[i] = time.perf_counter() - start
    return answers, times_s


def _trial(answers: Sequence[Answer], times_s: Float64[np.ndarray, "rounds q"]) -> Trial:
    return Trial(
        rows=np.stack([answer.rows for answer in answers]),
        scan_bytes=float(np.mean([answer.scan_bytes for answer in answers])),
        read_bytes=float(np.mean([answer.read_bytes for answer in answers])),
        times_s=times_s,
    )
