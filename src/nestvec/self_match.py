"""Self-matches: queries that were drawn from the stored rows, and so find themselves."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from nestvec.shapes import Float32, Int64, UInt64

NONE = -1
"""Row number that stands for no row."""
_BLOCK_ROWS = 4096
"""Rows whose keys are computed at a time."""

RowBlock = tuple[Int64[np.ndarray, " _"], Float32[np.ndarray, "_ dim"]]
"""Row numbers and their vectors."""


def find_self_matches(
    queries: Float32[np.ndarray, "q dim"], blocks: Iterable[RowBlock]
) -> Int64[np.ndarray, " q"]:
    """Find for each query the first row whose vector equals it in every number; −1: none.

    "First" is in the order of the blocks.
    """
    by_key: defaultdict[int, list[int]] = defaultdict(list)
    for query, key in enumerate(vector_keys(queries).tolist()):
        by_key[key].append(query)
    query_keys = np.fromiter(by_key, np.uint64, len(by_key))
    self_match = np.full(len(queries), NONE, np.int64)
    for rows, vectors in blocks:
        keys = vector_keys(vectors)
        for place in np.flatnonzero(np.isin(keys, query_keys)).tolist():
            for query in by_key[int(keys[place])]:
                if self_match[query] == NONE and np.array_equal(queries[query], vectors[place]):
                    self_match[query] = rows[place]
    return self_match


def row_blocks(vectors: Float32[np.ndarray, "n dim"]) -> Iterator[RowBlock]:
    """Divide an array into blocks for `find_self_matches`; rows are numbered from 0."""
    for first_row in range(0, len(vectors), _BLOCK_ROWS):
        block = vectors[first_row : first_row + _BLOCK_ROWS]
        yield np.arange(first_row, first_row + len(block)), block


def vector_keys(vectors: Float32[np.ndarray, "n dim"]) -> UInt64[np.ndarray, " n"]:
    """Hash each row to 64 bits: equal for equal vectors, almost always different for others."""
    # A sum of products with odd numbers, modulo 2⁶⁴.
    width = vectors.shape[1]
    salt = np.random.default_rng(0).integers(0, 1 << 63, width, dtype=np.uint64) * 2 + 1
    keys = np.empty(len(vectors), np.uint64)
    for first_row in range(0, len(vectors), _BLOCK_ROWS):
        block = slice(first_row, first_row + _BLOCK_ROWS)
        # Adding 0 turns −0 into 0, which equals it.
        words = np.ascontiguousarray(vectors[block] + np.float32(0)).view(np.uint32)
        keys[block] = words.astype(np.uint64) @ salt
    return keys
