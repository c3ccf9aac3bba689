"""Compiled kernels that code residuals and assign rows to cells."""

import numpy as np

from nestvec.kernels.jit import kernel
from nestvec.kernels.layout import GROUP, LANES, SOAR_WEIGHT
from nestvec.kernels.ranking import probe_cells, ranks_before


@kernel
def pack_words(codes, groups, shifts):
    """Compute `reference.pack_words`."""
    n, dim = codes.shape
    words = np.empty((n, len(groups)), np.uint64)
    for row in range(n):
        for w in range(len(groups)):
            start = GROUP * groups[w]
            word = np.uint64(0)
            for i in range(min(GROUP, dim - start)):
                bit = np.uint64((codes[row, start + i] >> shifts[w]) & 1)
                word |= bit << np.uint64(i)
            words[row, w] = word
    return words


@kernel
def quantize_residuals(residuals, norms, sigma, steps, levels):
    """Compute `reference.quantize_residuals`."""
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
def inner_with_decoded(residuals, codes, values, sigma):
    """Compute `reference.inner_with_decoded`."""
    n, dim = residuals.shape
    inner = np.empty(n)
    for row in range(n):
        total = 0.0
        for i in range(dim):
            value = values[i // GROUP, codes[row, i]] * sigma[i]
            total += np.float64(residuals[row, i]) * np.float64(value)
        inner[row] = total
    return inner


@kernel
def residual_norms(residuals, codes, values, sigma, scale, bounds):
    """Compute `reference.residual_norms`."""
    n = len(residuals)
    norms = np.empty((n, len(bounds) - 1))
    for row in range(n):
        for part in range(len(bounds) - 1):
            total = 0.0
            for i in range(bounds[part], bounds[part + 1]):
                value = np.float64(values[i // GROUP, codes[row, i]] * sigma[i])
                error = np.float64(residuals[row, i]) - np.float64(scale[row]) * value
                total += error * error
            norms[row, part] = np.sqrt(total)
    return norms


@kernel
def assign_with_spill(scores, vectors, centroids, n_nearest, cell_ids, spill_cells):
    """Compute `reference.assign_with_spill`."""
    cells, dims = centroids.shape
    counts = np.ones(cells, np.int64)
    size = cells + -cells % LANES
    values, keys = np.empty(size, np.float32), np.empty(size, np.int32)
    residual = np.empty(dims, np.float32)
    for row in range(len(vectors)):
        n_near = probe_cells(scores[row], counts, n_nearest, 1, values, keys)
        best = 0
        for i in range(1, n_near):
            if ranks_before(values[i], keys[i], values[best], keys[best]):
                best = i
        nearest = keys[best]
        cell_ids[row], spill_cells[row] = nearest, -1
        square = np.float32(0)
        for i in range(dims):
            residual[i] = vectors[row, i] - centroids[nearest, i]
            square += residual[i] * residual[i]
        least_cost = np.float32(np.inf)
        for j in range(n_near):
            cell = keys[j]
            if cell == nearest:
                continue
            cost, inner = np.float32(0), np.float32(0)
            for i in range(dims):
                entry = vectors[row, i] - centroids[cell, i]
                cost += entry * entry
                inner += entry * residual[i]
            if square > 0:
                cost += np.float32(SOAR_WEIGHT) * inner * (inner / square)
            better = cost < least_cost or (cost == least_cost and cell < spill_cells[row])
            if better or spill_cells[row] < 0:
                least_cost, spill_cells[row] = cost, cell
