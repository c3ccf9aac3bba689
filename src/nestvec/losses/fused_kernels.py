"""The Triton kernels of `fused`: the only module that needs Triton.

Rows are padded so that every prefix ends with a step of STEP dimensions; `block_ends` names the
prefix that a step completes, or −1. A program has ROWS rows of one side to itself, so nothing is
written twice.
"""

import triton
import triton.language as tl


@triton.jit
def log_sums(
    queries, candidates, query_norms, candidate_norms, block_ends, highest, total, q, n, scale,
    steps, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """Compute, per prefix and query, the highest logit and the sum of exp(logit − highest)."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    row_mask = rows < q
    for start in range(0, n, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        column_mask = columns < n
        sums = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        for step in range(steps):
            dims = step * STEP + tl.arange(0, STEP)
            a = tl.load(queries + rows[:, None] * WIDTH + dims, mask=row_mask[:, None], other=0.0)
            b = tl.load(
                candidates + columns[:, None] * WIDTH + dims, mask=column_mask[:, None], other=0.0
            )
            sums += tl.dot(a, tl.trans(b), input_precision="ieee")
            k = tl.load(block_ends + step)
            if k >= 0:
                row_norm = tl.load(query_norms + k * q + rows, mask=row_mask, other=0.0)
                column_norm = tl.load(
                    candidate_norms + k * n + columns, mask=column_mask, other=0.0
                )
                logits = sums * row_norm[:, None] * column_norm[None, :] * scale
                logits = tl.where(column_mask[None, :], logits, float("-inf"))
                old_highest = tl.load(highest + k * q + rows, mask=row_mask, other=0.0)
                new_highest = tl.maximum(old_highest, tl.max(logits, axis=1))
                added = tl.sum(tl.exp(logits - new_highest[:, None]), axis=1)
                running = tl.load(total + k * q + rows, mask=row_mask, other=0.0)
                running = running * tl.exp(old_highest - new_highest) + added
                tl.store(highest + k * q + rows, new_highest, mask=row_mask)
                tl.store(total + k * q + rows, running, mask=row_mask)


@triton.jit
def gradients(
    row_vectors, column_vectors, row_norms, column_norms, log_sum, query_weights, block_ends,
    gradient, logit_grad_sums, n_rows, n_columns, scale, steps, WIDTH: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr, ROWS_ARE_QUERIES: tl.constexpr,
):  # fmt: skip
    """Compute the gradient by the rows of Σ weight × log-sum-exp, at fixed norms.

    `logit_grad_sums` gets Σ ∂L/∂logit × logit per prefix and row. `log_sum` is by query, whether
    those are the rows (`ROWS_ARE_QUERIES`) or the columns.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    row_mask = rows < n_rows
    for start in range(0, n_columns, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        column_mask = columns < n_columns
        sums = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        for step in range(steps):
            dims = step * STEP + tl.arange(0, STEP)
            a = tl.load(
                row_vectors + rows[:, None] * WIDTH + dims, mask=row_mask[:, None], other=0.0
            )
            b = tl.load(
                column_vectors + columns[:, None] * WIDTH + dims,
                mask=column_mask[:, None],
                other=0.0,
            )
            sums += tl.dot(a, tl.trans(b), input_precision="ieee")
        suffix = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        for steps_done in range(steps):
            step = steps - 1 - steps_done
            dims = step * STEP + tl.arange(0, STEP)
            a = tl.load(
                row_vectors + rows[:, None] * WIDTH + dims, mask=row_mask[:, None], other=0.0
            )
            b = tl.load(
                column_vectors + columns[:, None] * WIDTH + dims,
                mask=column_mask[:, None],
                other=0.0,
            )
            k = tl.load(block_ends + step)
            if k >= 0:
                row_norm = tl.load(row_norms + k * n_rows + rows, mask=row_mask, other=0.0)
                column_norm = tl.load(
                    column_norms + k * n_columns + columns, mask=column_mask, other=0.0
                )
                norms = row_norm[:, None] * column_norm[None, :] * scale
                logits = sums * norms
                if ROWS_ARE_QUERIES:
                    query_log_sum = tl.load(log_sum + k * n_rows + rows, mask=row_mask, other=0.0)
                    query_log_sum = query_log_sum[:, None]
                else:
                    query_log_sum = tl.load(
                        log_sum + k * n_columns + columns, mask=column_mask, other=0.0
                    )
                    query_log_sum = query_log_sum[None, :]
                mask = row_mask[:, None] & column_mask[None, :]
                weight = tl.load(query_weights + k)
                slopes = tl.where(mask, weight * tl.exp(logits - query_log_sum), 0.0)
                running = tl.load(logit_grad_sums + k * n_rows + rows, mask=row_mask, other=0.0)
                running += tl.sum(slopes * logits, axis=1)
                tl.store(logit_grad_sums + k * n_rows + rows, running, mask=row_mask)
                suffix += slopes * norms
            position = gradient + rows[:, None] * WIDTH + dims
            running_gradient = tl.load(position, mask=row_mask[:, None], other=0.0)
            running_gradient += tl.dot(suffix, b, input_precision="ieee")
            tl.store(position, running_gradient, mask=row_mask[:, None])
            sums -= tl.dot(a, tl.trans(b), input_precision="ieee")
