"""Making codes and finding cells, compiled."""

import numpy as np

from nestvec.kernels.jit import kernel
from nestvec.kernels.layout import GROUP, LANES, SOAR_WEIGHT
from nestvec.kernels.ranking import before, probe_cells


@kernel
def pack_words(codes, groups, shifts):
    """`reference.pack_words`."""
    n, dim = codes.shape
    words = np.empty((n, len(groups)), np.uint64)
    for row in range(n):
        for w in range(len(groups)):
            first = GROUP * groups[w]
            word = np.uint64(0)
            for i in range(min(GROUP, dim - first)):
                bit = np.uint64((codes[row, first + i] >> shifts[w]) & 1)
                word |= bit << np.uint64(i)
            words[row, w] = word
    return words


@kernel
def quantize_residuals(residuals, norms, sigma, steps, levels):
    """`reference.quantize_residuals`."""
    n, dim = residuals.shape
    codes = np.empty((n, dim), np.uint8)
    for row in range(n):
        for i in range(dim):
            divisor = norms[row] * (sigma[i] * steps[i])
            unit = residuals[row, i] / divisor if divisor != 0 else np.float32(0)
            if not np.isfinite(unit):
                unit = np.float32(0)
            code = np.floor(unit) + np.float32(levels[i] // 2)
            codes[row, i] = np.uint8(
                min(max(code, np.float32(0)), np.float32(max(levels[i] - 1, 0)))
            )
    return codes


@kernel
def lengths_along(residuals, codes, values, sigma):
    """`reference.lengths_along`."""
    n, dim = residuals.shape
    along = np.empty(n)
    for row in range(n):
        total = 0.0
        for i in range(dim):
            value = values[i // GROUP, codes[row, i]] * sigma[i]
            total += np.float64(residuals[row, i]) * np.float64(value)
        along[row] = total
    return along


@kernel
def rests(residuals, codes, values, sigma, scale, bounds):
    """`reference.rests`, parts beginning and ending at `bounds`."""
    n = len(residuals)
    lengths = np.empty((n, len(bounds) - 1))
    for row in range(n):
        for part in range(len(bounds) - 1):
            total = 0.0
            for i in range(bounds[part], bounds[part + 1]):
                value = np.float64(values[i // GROUP, codes[row, i]] * sigma[i])
                rest = np.float64(residuals[row, i]) - np.float64(scale[row]) * value
                total += rest * rest
            lengths[row, part] = np.sqrt(total)
    return lengths


@kernel
def assign_twice(scores, vectors, centroids, nearest, first, second):
    """`reference.assign_twice` into `first` and `second`."""
    cells, dims = centroids.shape
    counts = np.ones(cells, np.int64)
    room = cells + -cells % LANES
    values, keys = np.empty(room, np.float32), np.empty(room, np.int32)
    residual = np.empty(dims, np.float32)
    for row in range(len(vectors)):
        found = probe_cells(scores[row], counts, nearest, 1, values, keys)
        best = 0
        for place in range(1, found):
            if before(values[place], keys[place], values[best], keys[best]):
                best = place
        own = keys[best]
        first[row], second[row] = own, -1
        square = np.float32(0)
        for i in range(dims):
            residual[i] = vectors[row, i] - centroids[own, i]
            square += residual[i] * residual[i]
        least = np.float32(np.inf)
        for place in range(found):
            other = keys[place]
            if other == own:
                continue
            length, along = np.float32(0), np.float32(0)
            for i in range(dims):
                left = vectors[row, i] - centroids[other, i]
                length += left * left
                along += left * residual[i]
            if square > 0:
                length += np.float32(SOAR_WEIGHT) * along * (along / square)
            better = length < least or (length == least and other < second[row])
            if better or second[row] < 0:
                least, second[row] = length, other
