"""The best of rows of scores, and how many reach a bar: each score is read once or twice."""

import numpy as np

from nestvec.kernels.jit import kernel
from nestvec.kernels.ranking import select, sort

_GROUPS = 1024
_RUN = 128
"""Scores among which none that is too low is looked at singly."""


@kernel
def _floor(row, k, largest, places):
    """What the best `k` of a row reach: the k-th of the largest scores of as many groups.

    Score j is of group j modulo their number, so that maxima are taken lane by lane. −∞ where
    there are fewer groups than that, or too few scores to be worth it.
    """
    if k > _GROUPS or len(row) < 2 * _GROUPS:
        return np.float32(-np.inf)
    largest[:] = row[:_GROUPS]
    for first in range(_GROUPS, len(row) - _GROUPS + 1, _GROUPS):
        for j in range(_GROUPS):
            score = row[first + j]
            largest[j] = score if score > largest[j] else largest[j]
    select(largest, places, _GROUPS, k)
    return largest[:k].min()


@kernel
def _reached(row, first, last, bar):
    """How many scores from `first` to `last` are at least `bar`."""
    count = np.int32(0)
    for j in range(first, last):
        count += row[j] >= bar
    return count


@kernel
def best_scores(scores, rows, best):
    """Fill `rows` and `best` [q, k] with the best `k` of each row of `scores` [q, n]."""
    n, k = scores.shape[1], rows.shape[1]
    values, keys = np.empty(n, np.float32), np.empty(n, np.int64)
    largest, places = np.empty(_GROUPS, np.float32), np.arange(_GROUPS)
    for q in range(len(scores)):
        row = scores[q]
        floor = _floor(row, k, largest, places)
        count = 0
        for first in range(0, n, _RUN):
            last = min(first + _RUN, n)
            if _reached(row, first, last, floor) == 0:
                continue
            for j in range(first, last):
                if row[j] >= floor:
                    values[count], keys[count] = row[j], j
                    count += 1
        select(values, keys, count, k)
        sort(values, keys, k)
        rows[q], best[q] = keys[:k], values[:k]


@kernel
def count_reaching(scores, rows, bars, counts):
    """Fill `counts` with how many scores of row `rows[i]` reach `bars[i]`."""
    for i in range(len(rows)):
        counts[i] = _reached(scores[rows[i]], 0, scores.shape[1], bars[i])
