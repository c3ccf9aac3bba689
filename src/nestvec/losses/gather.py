"""Embeddings of all processes, gathered once, whatever the number of cuts."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from nestvec.errors import InputError
from nestvec.shapes import Float


def gather(embeddings: Float[Tensor, "n dim"]) -> Float[Tensor, "all dim"]:
    """The rows of every process, in the order of ranks; gradients flow back to their makers.

    The rows of this process begin at rank × n. A single process gets its own rows. Raises
    `InputError` where processes have different numbers of rows: drop the last, short batch.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return embeddings
    _check_equal(len(embeddings), embeddings.device)
    rows: Tensor = _Gather.apply(embeddings)
    return rows


def own_rows(rows: int) -> int:
    """Where this process's rows begin among gathered ones, of which it has so many."""
    return dist.get_rank() * rows if dist.is_available() and dist.is_initialized() else 0


def _check_equal(rows: int, device: torch.device) -> None:
    ends = torch.tensor([rows, -rows], device=device)
    dist.all_reduce(ends, dist.ReduceOp.MAX)
    most, fewest = int(ends[0]), -int(ends[1])
    if most != fewest:
        raise InputError(
            f"processes have batches of {fewest} to {most} rows; all need the same number: "
            "drop the last, short batch"
        )


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.rows = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # What every process's loss wants of these rows; gloo has no reduce_scatter.
        total = gradient.clone()
        dist.all_reduce(total)
        first = dist.get_rank() * ctx.rows
        return total[first : first + ctx.rows]
