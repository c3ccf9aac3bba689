"""Hits of a search: ids, scores and rows per query, with the plan and what it read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from html import escape
from typing import Any, NamedTuple

import numpy as np

from nestvec.documents import Id
from nestvec.errors import InputError
from nestvec.extras import require
from nestvec.plan import Plan
from nestvec.plurals import count_of
from nestvec.shapes import Bool, Float32, Int64

_MAX_SHOWN = 3
"""Queries and hits that `repr` shows: a line on any screen."""
_MAX_SHOWN_HTML = 10


@dataclass(frozen=True, slots=True)
class StageStats:
    """The rows and bytes that one stage of a plan read, summed over the queries of a batch.

    A row lies in its cell and in a spill cell. Where both are probed, the first stage reads it
    twice and counts it twice.
    """

    stage: str
    rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SearchStats:
    """The cells, rows and bytes that a batch of queries read."""

    queries: int
    cells: int
    probe_bytes: int
    """Bytes of the centroids read to choose the cells."""
    stages: tuple[StageStats, ...]

    def __add__(self, stages: tuple[StageStats, ...]) -> "SearchStats":
        """Append further stages."""
        return replace(self, stages=self.stages + stages)

    @property
    def size_bytes(self) -> int:
        """All bytes read: centroids, codes and full vectors."""
        return self.probe_bytes + sum(stage.size_bytes for stage in self.stages)


class Hit(NamedTuple):
    """One answer to a query: its id, its score and its row number."""

    id: Id
    score: float
    row: int


def _same(stats: SearchStats) -> SearchStats:
    """Return stats that were computed before."""
    return stats


def _unknown_stats() -> SearchStats:
    raise InputError("the store of these hits does not count what a search reads")


@dataclass(frozen=True, eq=False)
class Hits:
    """The best rows of each query, best first; equal scores go to the smaller row.

    `hits[i]` is the list of `Hit`s of query i, without padding, and `len(hits)` the number of
    queries. Where a query has fewer than k hits, the arrays are padded with id −1 (None among text
    ids), score −∞ and row −1.
    """

    ids: np.ndarray
    """[q, k], int64 or, in an index with text ids, object."""
    scores: Float32[np.ndarray, "q k"]
    """In the index's metric, larger is better (Euclidean: minus the squared distance).

    Exact to float32 after a `full` stage, else estimates of the last stage: inner products, to
    which the Euclidean metric adds −|x|²/2.
    """
    rows: Int64[np.ndarray, "q k"]
    """Row numbers, in the order in which rows were added."""
    certified: Bool[np.ndarray, " q"]
    """True where the hits are proven to be the exact top k; False where no proof was asked for."""
    plan: Plan
    """The plan of the search; with `exact=True` the one that the proof starts from."""
    _compute_stats: Callable[[], SearchStats] = field(repr=False, default=_unknown_stats)
    """Computes `stats`, which takes as long as half a search and is rarely looked at."""

    @cached_property
    def stats(self) -> SearchStats:
        """The cells, rows and bytes that the search read."""
        return self._compute_stats()

    def with_min_score(self, min_score: float) -> "Hits":
        """Keep the hits whose score is at least `min_score`; the others become padding."""
        low = self.scores < min_score
        ids = self.ids.copy()
        ids[low] = None if ids.dtype == object else -1
        scores = np.where(low, np.float32(-np.inf), self.scores)
        return replace(self, ids=ids, scores=scores, rows=np.where(low, -1, self.rows))

    def __len__(self) -> int:
        """The number of queries."""
        return len(self.rows)

    def __getitem__(self, query: int) -> list[Hit]:
        """Return the hits of one query, best first, without padding."""
        columns = self.ids[query].tolist(), self.scores[query].tolist(), self.rows[query].tolist()
        return [Hit(*hit) for hit in zip(*columns, strict=True) if hit[2] >= 0]

    def __iter__(self) -> Iterator[list[Hit]]:
        """Iterate the hits of each query."""
        return (self[query] for query in range(len(self)))

    @property
    def _shape(self) -> str:
        return f"{count_of(len(self), 'query', 'queries')}, k={self.rows.shape[1]}"

    def __repr__(self) -> str:
        shape = f"{self._shape}, plan '{self.plan}'"
        shown = ", ".join(
            f"[{', '.join(f'{hit.id!r} {hit.score:.4f}' for hit in self[query][:_MAX_SHOWN])}, …]"
            for query in range(min(len(self), _MAX_SHOWN))
        )
        return f"<Hits: {shape}: {shown}{', …' if len(self) > _MAX_SHOWN else ''}>"

    def _repr_html_(self) -> str:
        """Show the first hits as a table in a notebook."""
        lines = [
            f"<tr><td>{query}</td><td>{escape(str(hit.id))}</td><td>{hit.score:.4f}</td></tr>"
            for query in range(min(len(self), _MAX_SHOWN))
            for hit in self[query][:_MAX_SHOWN_HTML]
        ]
        head = "<tr><th>query</th><th>id</th><th>score</th></tr>"
        caption = f"{self._shape}, plan {escape(str(self.plan))}"
        return f"<table><caption>{caption}</caption>{head}{''.join(lines)}</table>"

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the arrays with their stats; the index itself does not travel along."""
        if self._compute_stats is _unknown_stats:
            return dict(self.__dict__)
        return {**self.__dict__, "stats": self.stats, "_compute_stats": partial(_same, self.stats)}

    def _columns(self) -> dict[str, list[Any]]:
        """Lay the hits out as columns, a row for each hit: query, rank, id, score, row."""
        hits = [
            (query, rank, *hit)
            for query, of_query in enumerate(self)
            for rank, hit in enumerate(of_query, 1)
        ]
        names = ("query", "rank", "id", "score", "row")
        return {name: [hit[column] for hit in hits] for column, name in enumerate(names)}

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame with a row for each hit: query, rank, id, score, row."""
        return require("pandas", "pandas").DataFrame(self._columns())

    def to_polars(self) -> Any:
        """Return a polars DataFrame with a row for each hit: query, rank, id, score, row."""
        return require("polars", "polars").DataFrame(self._columns())

    def to_arrow(self) -> Any:
        """Return an Arrow table with a row for each hit: query, rank, id, score, row."""
        return require("pyarrow", "parquet").table(self._columns())
