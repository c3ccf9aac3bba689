"""Answers of a search."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from nestvec.shapes import Bool, Float32, Int64


@dataclass(frozen=True, slots=True)
class StageStats:
    """What one step of a plan read, summed over the queries of a batch."""

    stage: str
    rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SearchStats:
    """What a batch of queries read."""

    queries: int
    cells: int
    probe_bytes: int
    """Centroids read to choose the cells."""
    stages: tuple[StageStats, ...]

    def __add__(self, stages: tuple[StageStats, ...]) -> "SearchStats":
        """These and further steps."""
        return replace(self, stages=self.stages + stages)

    @property
    def size_bytes(self) -> int:
        """All bytes read: centroids, codes and full vectors."""
        return self.probe_bytes + sum(stage.size_bytes for stage in self.stages)


@dataclass(frozen=True, eq=False)
class Hits:
    """Per query the best rows, best first; equal scores go to the smaller row."""

    ids: np.ndarray
    """[q, k], int64 or, in an index with string ids, object."""
    scores: Float32[np.ndarray, "q k"]
    """In the index's metric, larger is better (Euclidean: minus the squared distance).

    Exact to float32 after a `full` stage, else estimates of the last stage: inner products, to
    which the Euclidean metric adds −|x|²/2.
    """
    rows: Int64[np.ndarray, "q k"]
    """Row numbers, in the order in which the vectors were given to `build`."""
    certified: Bool[np.ndarray, " q"]
    """True where the answer is proven to be the exact top k; only asked for proofs are made."""
    _measure: Callable[[], SearchStats] = field(repr=False)
    """Makes `stats`, which takes as long as half a search and is mostly not looked at."""

    @cached_property
    def stats(self) -> SearchStats:
        """What the search read."""
        return self._measure()

    def __len__(self) -> int:
        return len(self.rows)
