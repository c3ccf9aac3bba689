"""Answers of a search."""

from dataclasses import dataclass

import numpy as np

from nestvec.shapes import Float32, Int64


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
    """Inner products; exact to float32 after a `full` stage, else estimates of the last stage."""
    rows: Int64[np.ndarray, "q k"]
    """Row numbers, in the order in which the vectors were given to `build`."""
    stats: SearchStats

    def __len__(self) -> int:
        return len(self.rows)
