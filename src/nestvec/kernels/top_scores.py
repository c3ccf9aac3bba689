"""Compiled kernels over rows of scores: the best k, and how many scores reach a threshold.

Each score is read once or twice.
"""

import numpy as np

from nestvec.kernels.jit import kernel
from nestvec.kernels.ranking import select, sort

_GROUPS = 1024
"""Groups whose largest scores suggest a threshold: 4 KiB, a fraction of the first cache."""
_RUN = 128
"""Scores that are skipped together where none reaches the threshold: a few vector compares."""


@kernel
def _floor(row, k, largest, places):
    """Find a score that the best `k` of a row reach: the k-th of the largest scores of groups.

    Score j belongs to group j modulo their number, so that maxima are taken lane by lane. −∞ where
    there are fewer groups than `k`, or too few scores for this to be worth it.
    """
    if k > _GROUPS or len(row) < 2 * _GROUPS:
        return np.float32(-np.inf)
    largest[:] = row[:_GROUPS]
    for start in range(_GROUPS, len(row) - _GROUPS + 1, _GROUPS):
        for j in range(_GROUPS):
            score = row[start + j]
            largest[j] = score if score > largest[j] else largest[j]
    select(largest, places, _GROUPS, k)
    return largest[:k].min()


@kernel
def _count_at_least(row, start, stop, threshold):
    """Count the scores from `start` to `stop` that are at least the threshold."""
    count = np.int32(0)
    for j in range(start, stop):
        count += row[j] >= threshold
    return count


@kernel
def best_scores(scores, rows, best):
    """Compute `reference.best_scores`."""
    n, k = scores.shape[1], rows.shape[1]
    values, keys = np.empty(n, np.float32), np.empty(n, np.int64)
    largest, places = np.empty(_GROUPS, np.float32), np.arange(_GROUPS)
    for q in range(len(scores)):
        row = scores[q]
        floor = _floor(row, k, largest, places)
        count = 0
        for start in range(0, n, _RUN):
            stop = min(start + _RUN, n)
            if _count_at_least(row, start, stop, floor) == 0:
                continue
            for j in range(start, stop):
                if row[j] >= floor:
                    values[count], keys[count] = row[j], j
                    count += 1
        select(values, keys, count, k)
        sort(values, keys, k)
        rows[q], best[q] = keys[:k], values[:k]


@kernel
def count_reaching(scores, rows, thresholds, counts):
    """Compute `reference.count_reaching`."""
    for i in range(len(rows)):
        counts[i] = _count_at_least(scores[rows[i]], 0, scores.shape[1], thresholds[i])
