"""Search methods on the same vectors, measured in turns: hits, bytes read and time."""

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


class QueryResult(NamedTuple):
    """The hits of one query and their cost."""

    rows: Int64[np.ndarray, " k"]
    scan_bytes: float
    """Bytes that the first stage reads of each probed vector."""
    read_bytes: int
    """Bytes read in all: cells, codes and full vectors."""


@dataclass(frozen=True, slots=True)
class SearchMethod:
    """A named function that finds the best `K` rows for a query."""

    name: str
    kind: Kind
    search: Callable[[Float32[np.ndarray, "1 dim"]], QueryResult]


@dataclass(frozen=True, slots=True, eq=False)
class MethodResult:
    """The hits and the cost of one method, over all queries and rounds."""

    rows: Int64[np.ndarray, "q k"]
    scan_bytes: float
    read_bytes: float
    """Mean per query."""
    times_s: Float64[np.ndarray, "rounds q"]

    @property
    def median_us(self) -> float:
        """The median time of a single query, in microseconds."""
        return float(1e6 * np.median(self.times_s))


def float_scan(
    name: str, kind: Kind, vectors: Float32[np.ndarray, "n dim"], dims: int | None = None
) -> SearchMethod:
    """Make the search by NumPy's product with all vectors, or with their prefixes of `dims`."""
    stored = np.ascontiguousarray(vectors if dims is None else truncate(vectors, dims))

    def search(query: Float32[np.ndarray, "1 dim"]) -> QueryResult:
        # The query's prefix needs no unit length: that would scale its scores, not reorder them.
        scores = stored @ query[0, :dims]
        best = np.argpartition(-scores, K - 1)[:K]
        rows = best[np.lexsort((best, -scores[best]))]
        return QueryResult(rows, stored.nbytes / len(stored), stored.nbytes)

    return SearchMethod(name, kind, search)


def engine(name: str, kind: Kind, index: Index, plan: str) -> SearchMethod:
    """Make the search of an index by `plan`, on one thread."""

    def search(query: Float32[np.ndarray, "1 dim"]) -> QueryResult:
        hits = index.search(query, K, plan=plan, threads=1)
        first_stage = hits.stats.stages[0]
        return QueryResult(
            hits.rows[0], first_stage.size_bytes / first_stage.rows, hits.stats.size_bytes
        )

    return SearchMethod(name, kind, search)


def compare(
    methods: Sequence[SearchMethod],
    queries: Float32[np.ndarray, "q dim"],
    rounds: int,
    progress: Progress = silent,
) -> list[MethodResult]:
    """Search every query by every method, one at a time on one thread, `rounds` times.

    Methods take turns within each round, so that a busy machine slows all of them alike. Each has
    one unmeasured query first, which loads compiled kernels and reads memory maps.
    """
    limits = require("threadpoolctl", "demo").threadpool_limits
    results: list[list[QueryResult]] = [[] for _ in methods]
    times_s = np.empty((len(methods), rounds, len(queries)))
    with limits(1), progress("Measuring", rounds * len(methods)) as advance:
        for method in methods:
            method.search(queries[:1])
        for turn in range(rounds):
            for i, method in enumerate(methods):
                # Every round has the same hits; those of the last are used.
                results[i], times_s[i, turn] = _search_all(method, queries)
                advance(1)
    return [_method_result(hits, times) for hits, times in zip(results, times_s, strict=True)]


def _search_all(
    method: SearchMethod, queries: Float32[np.ndarray, "q dim"]
) -> tuple[list[QueryResult], Float64[np.ndarray, " q"]]:
    results: list[QueryResult] = []
    times_s = np.empty(len(queries))
    for i in range(len(queries)):
        query = queries[i : i + 1]
        start = time.perf_counter()
        results.append(method.search(query))
        times_s[i] = time.perf_counter() - start
    return results, times_s


def _method_result(
    results: Sequence[QueryResult], times_s: Float64[np.ndarray, "rounds q"]
) -> MethodResult:
    return MethodResult(
        rows=np.stack([result.rows for result in results]),
        scan_bytes=float(np.mean([result.scan_bytes for result in results])),
        read_bytes=float(np.mean([result.read_bytes for result in results])),
        times_s=times_s,
    )
