"""Embeddings of all processes, gathered once, whatever the number of nesting dims."""

import zlib
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from nestvec.errors import InputError
from nestvec.shapes import Float


def gather(embeddings: Float[Tensor, "n dim"]) -> Float[Tensor, "all dim"]:
    """Concatenate the rows of every process, in the order of ranks; gradients flow back to them.

    Processes may have different numbers of rows, also none. A single process gets its rows back.
    Every process must call it, and `backward` too. Raises `InputError`, in every process, where
    they differ in anything else: the width, the dtype, or whether a gradient is needed.
    """
    return gather_with_offset(embeddings)[0]


def gather_with_offset(rows: Tensor) -> tuple[Tensor, int]:
    """Gather rows, and give the position of the first row of this process among them."""
    if n_processes() == 1:
        return rows, 0
    counts = _checked_counts(rows)
    gathered: Tensor = _Gather.apply(rows, counts)
    return gathered, sum(counts[: dist.get_rank()])


def n_processes() -> int:
    """Count the processes of torch.distributed; 1 where it was not started."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_numbers(numbers: list[int], device: torch.device) -> list[list[int]]:
    """List the same few whole numbers of every process, in the order of ranks."""
    if n_processes() == 1:
        return [numbers]
    local = torch.tensor(numbers, device=device)
    parts = [torch.empty_like(local) for _ in range(n_processes())]
    dist.all_gather(parts, local)
    return torch.stack(parts).tolist()  # type: ignore[no-any-return]


def _checked_counts(rows: Tensor) -> list[int]:
    """List the number of rows of every process; `InputError` in all if these do not fit."""
    width = rows.shape[1] if rows.ndim == 2 else 0
    needs_gradient = rows.requires_grad and torch.is_grad_enabled()
    local = [len(rows), width, zlib.crc32(str(rows.dtype).encode()), needs_gradient]
    # Checked by all before any row is sent: a process alone with its error leaves others waiting.
    counts, *properties = zip(*gather_numbers(local, rows.device), strict=True)
    names = ("width", "dtype", "need of a gradient")
    differing = [n for n, values in zip(names, properties, strict=True) if len(set(values)) > 1]
    if differing:
        raise InputError(
            f"processes differ in the {' and the '.join(differing)} of their rows; this one has "
            f"{rows.dtype} of width {width} that needs {'a' if needs_gradient else 'no'} "
            "gradient; make all alike"
        )
    return list(counts)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        start = sum(counts[: dist.get_rank()])
        ctx.local = slice(start, start + len(rows))
        # gloo sends equal shapes alone: short parts are padded, and the padding is cut off.
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # The sum of the gradients of every process's loss; gloo has no reduce_scatter.
        total = gradient.clone()
        dist.all_reduce(total)
        return total[ctx.local], None
