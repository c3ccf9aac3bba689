"""The Triton kernels of `fused`: the only module that needs Triton.

Rows are padded so that every cut ends with a whole step of STEP dimensions; `ends` says which cut a
step completes, or −1. A program has ROWS rows of one side to itself, so nothing is written twice.
"""

import triton
import triton.language as tl


@triton.jit
def log_sums(
    queries, candidates, by_query, by_candidate, ends, highest, total, q, n, scale,
    steps, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """Per cut and query: the highest logit and the sum of exp(logit − highest)."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = rows < q
    for first in range(0, n, COLUMNS):
        columns = first + tl.arange(0, COLUMNS)
        there = columns < n
        sums = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        for step in range(steps):
            dims = step * STEP + tl.arange(0, STEP)
            left = tl.load(queries + rows[:, None] * WIDTH + dims, mask=inside[:, None], other=0.0)
            right = tl.load(
                candidates + columns[:, None] * WIDTH + dims, mask=there[:, None], other=0.0
            )
            sums += tl.dot(left, tl.trans(right), input_precision="ieee")
            cut = tl.load(ends + step)
            if cut >= 0:
                of_rows = tl.load(by_query + cut * q + rows, mask=inside, other=0.0)
                of_columns = tl.load(by_candidate + cut * n + columns, mask=there, other=0.0)
                logits = sums * of_rows[:, None] * of_columns[None, :] * scale
                logits = tl.where(there[None, :], logits, float("-inf"))
                before = tl.load(highest + cut * q + rows, mask=inside, other=0.0)
                after = tl.maximum(before, tl.max(logits, axis=1))
                added = tl.sum(tl.exp(logits - after[:, None]), axis=1)
                so_far = tl.load(total + cut * q + rows, mask=inside, other=0.0)
                so_far = so_far * tl.exp(before - after) + added
                tl.store(highest + cut * q + rows, after, mask=inside)
                tl.store(total + cut * q + rows, so_far, mask=inside)


@triton.jit
def gradients(
    own, other, by_own, by_other, log_sum, each, ends, gradient, pulls, n_own, n_other, scale,
    steps, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr,
    OWN_ASKS: tl.constexpr,
):  # fmt: skip
    """The gradient by one side's rows of Σ weight × log-sum-exp, but for what their lengths do.

    `pulls` gets Σ ∂L/∂logit × logit per cut and row. `log_sum` is by query, whichever side those
    are (`OWN_ASKS`: this one).
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = rows < n_own
    for first in range(0, n_other, COLUMNS):
        columns = first + tl.arange(0, COLUMNS)
        there = columns < n_other
        sums = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        for step in range(steps):
            dims = step * STEP + tl.arange(0, STEP)
            left = tl.load(own + rows[:, None] * WIDTH + dims, mask=inside[:, None], other=0.0)
            right = tl.load(other + columns[:, None] * WIDTH + dims, mask=there[:, None], other=0.0)
            sums += tl.dot(left, tl.trans(right), input_precision="ieee")
        suffix = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        for back in range(steps):
            step = steps - 1 - back
            dims = step * STEP + tl.arange(0, STEP)
            left = tl.load(own + rows[:, None] * WIDTH + dims, mask=inside[:, None], other=0.0)
            right = tl.load(other + columns[:, None] * WIDTH + dims, mask=there[:, None], other=0.0)
            cut = tl.load(ends + step)
            if cut >= 0:
                of_rows = tl.load(by_own + cut * n_own + rows, mask=inside, other=0.0)
                of_columns = tl.load(by_other + cut * n_other + columns, mask=there, other=0.0)
                norms = of_rows[:, None] * of_columns[None, :] * scale
                logits = sums * norms
                if OWN_ASKS:
                    asked = tl.load(log_sum + cut * n_own + rows, mask=inside, other=0.0)[:, None]
                else:
                    asked = tl.load(log_sum + cut * n_other + columns, mask=there, other=0.0)
                    asked = asked[None, :]
                real = inside[:, None] & there[None, :]
                slopes = tl.where(real, tl.load(each + cut) * tl.exp(logits - asked), 0.0)
                so_far = tl.load(pulls + cut * n_own + rows, mask=inside, other=0.0)
                so_far += tl.sum(slopes * logits, axis=1)
                tl.store(pulls + cut * n_own + rows, so_far, mask=inside)
                suffix += slopes * norms
            place = gradient + rows[:, None] * WIDTH + dims
            so_far = tl.load(place, mask=inside[:, None], other=0.0)
            so_far += tl.dot(suffix, right, input_precision="ieee")
            tl.store(place, so_far, mask=inside[:, None])
            sums -= tl.dot(left, tl.trans(right), input_precision="ieee")
