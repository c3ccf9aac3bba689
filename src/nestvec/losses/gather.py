"""Embeddings of all processes, gathered once, whatever the number of nesting dims."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from nestvec.errors import InputError
from nestvec.shapes import Float


def gather(embeddings: Float[Tensor, "n dim"]) -> Float[Tensor, "all dim"]:
    """Concatenate the rows of every process, in the order of ranks; gradients flow back to them.

    The rows of this process begin at rank × n. A single process gets its rows back. Raises
    `InputError` where processes have different numbers of rows: drop the last, short batch.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return embeddings
    _check_equal(len(embeddings), embeddings.device)
    rows: Tensor = _Gather.apply(embeddings)
    return rows


def local_offset(n_rows: int) -> int:
    """Give the position of this process's first row among gathered rows, `n_rows` per process."""
    return dist.get_rank() * n_rows if dist.is_available() and dist.is_initialized() else 0


def _check_equal(n_rows: int, device: torch.device) -> None:
    extremes = torch.tensor([n_rows, -n_rows], device=device)
    dist.all_reduce(extremes, dist.ReduceOp.MAX)
    largest, smallest = int(extremes[0]), -int(extremes[1])
    if largest != smallest:
        raise InputError(
            f"processes have batches of {smallest} to {largest} rows; all need the same number: "
            "drop the last, short batch"
        )


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.n_rows = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # The sum of the gradients of every process's loss; gloo has no reduce_scatter.
        total = gradient.clone()
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.n_rows
        return total[start : start + ctx.n_rows]
