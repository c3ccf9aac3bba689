"""Self-matches: queries that equal rows of the index, and so find themselves."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from nestvec.index import Hits
from nestvec.index.snapshot import Snapshot
from nestvec.shapes import Float32, Int64, UInt64

NONE = -1
_BLOCK_ROWS = 4096


def find_self_matches(
    snapshot: Snapshot, queries: Float32[np.ndarray, "q dim"]
) -> Int64[np.ndarray, " q"]:
    """Return the first live row whose stored vector equals each query in every number, or −1."""
    # A sum of products with odd numbers, modulo 2⁶⁴, tells vectors apart but for rare chances.
    salt = np.random.default_rng(0).integers(0, 1 << 63, snapshot.dim, dtype=np.uint64) * 2 + 1
    by_key: defaultdict[int, list[int]] = defaultdict(list)
    for query, key in enumerate(_keys(queries, salt).tolist()):
        by_key[key].append(query)
    self_match = np.full(len(queries), NONE, np.int64)
    for key, number, vector in _rows_with_keys(snapshot, np.fromiter(by_key, np.uint64), salt):
        for query in by_key[key]:
            if self_match[query] == NONE and np.array_equal(queries[query], vector):
                self_match[query] = number
    return self_match


def self_matches_last(hits: Hits, self_match: Int64[np.ndarray, " q"]) -> Int64[np.ndarray, "q k"]:
    """Order the places of the hits, with each query's self-match behind all other hits."""
    return np.argsort(hits.rows == self_match[:, None], axis=1, kind="stable")


def _rows_with_keys(
    snapshot: Snapshot, keys: UInt64[np.ndarray, " keys"], salt: UInt64[np.ndarray, " dim"]
) -> Iterator[tuple[int, int, Float32[np.ndarray, " dim"]]]:
    """Iterate key, row number and vector of each live row that has one of the keys, by row."""
    for part in snapshot.parts:
        live = np.ones(len(part.rows), bool) if part.kept is None else part.kept
        for first in range(0, len(part.rows), _BLOCK_ROWS):
            block = part.rows.vectors[first : first + _BLOCK_ROWS]
            block_keys = _keys(block, salt)
            matches = np.isin(block_keys, keys) & live[first : first + _BLOCK_ROWS]
            for place in np.flatnonzero(matches).tolist():
                yield int(block_keys[place]), int(part.rows.numbers[first + place]), block[place]


def _keys(
    vectors: Float32[np.ndarray, "n dim"], salt: UInt64[np.ndarray, " dim"]
) -> UInt64[np.ndarray, " n"]:
    """Hash vectors, equal ones to equal keys: adding 0 turns −0 into 0."""
    words = np.ascontiguousarray(vectors + np.float32(0)).view(np.uint32)
    return np.asarray(words.astype(np.uint64) @ salt)
