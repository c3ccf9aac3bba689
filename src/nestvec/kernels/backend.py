"""The functions that an implementation of the inner loops has, and the arguments that they share.

`nestvec.kernels.reference` is one implementation, in plain NumPy: it defines the meaning.
`nestvec.kernels.compiled` is the one that runs. Each further one (in C, on a GPU) has to pass the
same twin tests, tests/kernels/test_twins.py, which compare it with the reference bit by bit.

Functions that answer queries write into arrays of the caller, so that threads can divide a batch by
slices of its arrays.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np

from nestvec.kernels.layout import Cells, Funnel


class SegmentArrays(NamedTuple):
    """Arrays of one coded segment."""

    cells: Cells
    vectors: np.ndarray  # float32 [n, dim], read for full scores


class SegmentPlan(NamedTuple):
    """A plan for one segment."""

    funnel: Funnel
    probe: int  # cells to probe, from 1 to all of them
    full: bool  # whether the last stage scores the stored vectors


class SegmentBounds(NamedTuple):
    """Data of a segment from which upper bounds on scores are computed."""

    funnel: Funnel  # of two stages: the head, and all words
    part_bounds: np.ndarray  # int64 [PARTS + 1]
    longest: float  # upper bound on the norms of the coded rows
    rotation_defect: float  # upper bound on ‖I − R Rᵀ‖


class SearchOptions(NamedTuple):
    """Options that every search has."""

    metric: int  # IP, COSINE or EUCLIDEAN
    k: int
    allowed: np.ndarray  # uint8 [n], 1 where a row may be a hit; [0] allows all rows


class TopK(NamedTuple):
    """Arrays that receive the hits of a batch, best first, and the work that they took.

    Equal scores go to the smaller row. Where there are fewer than k hits, row −1 and score −inf
    fill the places up.
    """

    rows: np.ndarray  # int64 [q, k]
    scores: np.ndarray  # float64 [q, k]
    counts: np.ndarray  # int64 [q, counts]

    @classmethod
    def empty(cls, n_queries: int, k: int, n_counts: int) -> "TopK":
        """Make the arrays for a batch; their contents are undefined."""
        return cls(
            np.empty((n_queries, k), np.int64),
            np.empty((n_queries, k), np.float64),
            np.empty((n_queries, n_counts), np.int64),
        )


class Backend(Protocol):
    """An implementation of the inner loops; a module that defines these functions is one.

    `nestvec.kernels.reference` says what each function computes, and in which order it adds.
    """

    def pack(self, record: Any) -> Any:
        """Return a named tuple of this module in the form in which the backend reads it.

        That form may keep the arrays where they are or copy them, to a device for instance. It has
        the same fields.
        """

    def pack_words(self, codes: np.ndarray, groups: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        """Collect one bit of 64 codes in each word: uint64 [n, words]."""

    def quantize_residuals(
        self,
        residuals: np.ndarray,
        norms: np.ndarray,
        sigma: np.ndarray,
        steps: np.ndarray,
        levels: np.ndarray,
    ) -> np.ndarray:
        """Quantise residuals uniformly: uint8 [n, dim]."""

    def inner_with_decoded(
        self, residuals: np.ndarray, codes: np.ndarray, values: np.ndarray, sigma: np.ndarray
    ) -> np.ndarray:
        """Inner products of residuals and their decoded directions: float64 [n]."""

    def residual_norms(
        self,
        residuals: np.ndarray,
        codes: np.ndarray,
        values: np.ndarray,
        sigma: np.ndarray,
        scale: np.ndarray,
        bounds: np.ndarray,
    ) -> np.ndarray:
        """Norms of residual − scale · decoded, part by part: float64 [n, parts].

        Of all functions the only one that may add in another order than the reference.
        """

    def assign_with_spill(
        self,
        scores: np.ndarray,
        vectors: np.ndarray,
        centroids: np.ndarray,
        n_nearest: int,
        cell_ids: np.ndarray,
        spill_cells: np.ndarray,
    ) -> None:
        """Find the primary cell of each row, and its spill cell by SOAR."""

    def search_batch(
        self,
        queries: np.ndarray,
        segment: Any,
        plan: Any,
        options: SearchOptions,
        out: TopK,
    ) -> None:
        """Search a coded segment by a plan.

        `segment` and `plan` are a packed `SegmentArrays` and `SegmentPlan`. `out.counts` has a
        column for the cells probed, one for the rows read by each stage, and one for the rows
        scored in full. IndexError: a record names a cell or a row that does not exist.
        """

    def exact_batch(
        self,
        queries: np.ndarray,
        floors: np.ndarray,
        segment: Any,
        bounds: Any,
        options: SearchOptions,
        max_above_floor: int,
        out: TopK,
    ) -> None:
        """Find the exact top k of a coded segment among the rows that score at least the floor.

        `floors` has one float64 score per query; −inf admits all rows. `segment` and `bounds` are a
        packed `SegmentArrays` and `SegmentBounds`. A query is abandoned once more than
        `max_above_floor` rows (fewer than k) score above its floor, and its hits are undefined.
        `out.counts` has four columns: rows bounded by their heads, rows bounded by all words, rows
        scored in full, and 1 where the query was abandoned. The first three depend on the backend.
        IndexError: a record names a row that does not exist.
        """

    def scan_batch(
        self,
        queries: np.ndarray,
        vectors: np.ndarray,
        candidates: np.ndarray,
        metric: int,
        k: int,
        out: TopK,
    ) -> None:
        """Find the top k of some rows by scoring each of them in full.

        `candidates` are row numbers, int64. `out.counts` has one column, the rows scored.
        """

    def orthogonality_defect(self, rotation: np.ndarray) -> float:
        """Compute an upper bound on ‖I − R Rᵀ‖, by which a rotation fails to be orthogonal."""

    def best_scores(self, scores: np.ndarray, rows: np.ndarray, best: np.ndarray) -> None:
        """Fill `rows` and `best` [q, k] with the k best of each row of `scores` [q, n]."""

    def count_reaching(
        self, scores: np.ndarray, rows: np.ndarray, thresholds: np.ndarray, counts: np.ndarray
    ) -> None:
        """Fill `counts` with the number of scores in row `rows[i]` that reach `thresholds[i]`."""
