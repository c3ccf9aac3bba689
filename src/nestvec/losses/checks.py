"""What tensors of one loss must have in common."""

from typing import Any

import torch
from torch import Tensor

from nestvec.errors import InputError, VectorsError
from nestvec.shapes import Float, Int64


def check_embeddings(**named: Any) -> int:
    """The common width of 2-D floating tensors on one device and of one dtype, else `VectorsError`.

    Gathering leaves a batch in one dtype: two of them in one loss are a mistake upstream that a
    silent promotion would hide.
    """
    for name, tensor in named.items():
        if not isinstance(tensor, Tensor):
            raise VectorsError(f"{name} is a {type(tensor).__name__}; give a torch.Tensor")
        if tensor.ndim != 2 or not tensor.is_floating_point() or tensor.shape[1] == 0:
            raise VectorsError(
                f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}; "
                "the rule is 2-D [batch, dim] of floating point"
            )
    for what in ("device", "dtype"):
        if len({getattr(tensor, what) for tensor in named.values()}) > 1:
            kinds = ", ".join(f"{name} on {getattr(t, what)}" for name, t in named.items())
            raise VectorsError(f"{what}s differ: {kinds}; bring them to one by .to(...)")
    widths = {tensor.shape[1] for tensor in named.values()}
    if len(widths) > 1:
        sizes = ", ".join(f"{name} {tensor.shape[1]}" for name, tensor in named.items())
        raise VectorsError(f"widths differ: {sizes}; all are to be of one width")
    return int(widths.pop())


def check_labels(labels: Any, rows: Float[Tensor, "n dim"]) -> Int64[Tensor, " n"]:
    """One whole number per row, as int64 and where the rows are, else `InputError`."""
    if not isinstance(labels, Tensor) or labels.dtype == torch.bool or labels.is_floating_point():
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise InputError(f"labels are {kind}; give a tensor of whole numbers, such as torch.int64")
    if labels.shape != rows.shape[:1]:
        raise InputError(
            f"labels of shape {tuple(labels.shape)} for {len(rows)} rows; give one per row"
        )
    if labels.device != rows.device:
        raise InputError(
            f"labels are on {labels.device} and rows on {rows.device}; "
            "bring them to one by .to(...)"
        )
    return labels.long()


def as_parameters(rows: Float[Tensor, "n dim"], parameters: Tensor) -> Float[Tensor, "n dim"]:
    """Under autocast the rows in the dtype of parameters: it halves what a model returns alone."""
    kind = rows.device.type
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return rows.to(parameters.dtype) if on else rows


def at_least_float32(tensor: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
    """Half precision widened: sums of exponentials need more than three digits."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def uncast(like: Tensor) -> torch.autocast:
    """A context in which autocast, if it is on, leaves products as they are."""
    return torch.autocast(like.device.type, enabled=False)
