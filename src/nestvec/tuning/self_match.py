"""Self-matches among the live rows of an index."""

from collections.abc import Iterator

import numpy as np

from nestvec import self_match
from nestvec.index import Hits
from nestvec.index.snapshot import Snapshot
from nestvec.shapes import Float32, Int64

_BLOCK_ROWS = 4096


def find_self_matches(
    snapshot: Snapshot, queries: Float32[np.ndarray, "q dim"]
) -> Int64[np.ndarray, " q"]:
    """Find the first live row whose stored vector equals each query in every number; −1: none."""
    return self_match.find_self_matches(queries, _live_blocks(snapshot))


def self_matches_last(
    hits: Hits, self_matches: Int64[np.ndarray, " q"]
) -> Int64[np.ndarray, "q k"]:
    """Order the places of the hits, with each query's self-match behind all other hits."""
    return np.argsort(hits.rows == self_matches[:, None], axis=1, kind="stable")


def _live_blocks(snapshot: Snapshot) -> Iterator[self_match.RowBlock]:
    """Iterate over the numbers and vectors of live rows, by row."""
    for segment in snapshot.parts:
        for first_row in range(0, len(segment.rows), _BLOCK_ROWS):
            block = slice(first_row, first_row + _BLOCK_ROWS)
            numbers, vectors = segment.rows.numbers[block], segment.rows.vectors[block]
            live = ... if segment.live_mask is None else segment.live_mask[block]
            yield numbers[live], vectors[live]
