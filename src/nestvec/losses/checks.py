"""Checks of the tensors of one loss: shapes, types, devices, and the rules of autocast."""

import warnings
from typing import Any

import torch
from torch import Tensor

from nestvec.errors import InputError, VectorsError
from nestvec.shapes import Float, Int64

_NO_PAIRS = (
    "a batch of one row has no pairs to compare, so its loss is 0 and teaches nothing; "
    "if it is not only the last batch, use larger ones"
)


def check_embeddings(**named: Any) -> int:
    """Check 2-D floating tensors of one device, dtype and width, and return the width.

    Raises `VectorsError`. Gathering leaves a batch in one dtype: two of them in one loss are a
    mistake upstream that a silent promotion would hide.
    """
    for name, tensor in named.items():
        if not isinstance(tensor, Tensor):
            raise VectorsError(f"{name} is a {type(tensor).__name__}; pass a torch.Tensor")
        if tensor.ndim != 2 or not tensor.is_floating_point() or tensor.shape[1] == 0:
            raise VectorsError(
                f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}; "
                "the rule is 2-D [batch, dim] of floating point"
            )
    for attribute in ("device", "dtype"):
        if len({getattr(tensor, attribute) for tensor in named.values()}) > 1:
            kinds = ", ".join(f"{name} on {getattr(t, attribute)}" for name, t in named.items())
            raise VectorsError(f"{attribute}s differ: {kinds}; make them equal by .to(...)")
    widths = {tensor.shape[1] for tensor in named.values()}
    if len(widths) > 1:
        listed = ", ".join(f"{name} {tensor.shape[1]}" for name, tensor in named.items())
        raise VectorsError(f"widths differ: {listed}; all must have one width")
    return int(widths.pop())


def has_no_pairs(rows: Float[Tensor, "n dim"]) -> bool:
    """Tell whether a batch is one row, as the last one may be, and warn that it teaches nothing.

    Raises `VectorsError` for a batch of no rows.
    """
    if len(rows) == 0:
        raise VectorsError("a batch of 0 rows has no loss; pass at least two rows")
    if len(rows) == 1:
        warnings.warn(_NO_PAIRS, stacklevel=3)
    return len(rows) == 1


def no_loss(*inputs: Tensor) -> Float[Tensor, ""]:
    """Make a loss of 0 whose gradient, of zeros, flows back to all inputs; NaN stays NaN."""
    return 0 * torch.stack([tensor.sum() for tensor in inputs]).sum()


def check_labels(labels: Any, rows: Float[Tensor, "n dim"]) -> Int64[Tensor, " n"]:
    """Check one whole number per row, on the device of the rows, and return them as int64.

    Raises `InputError`.
    """
    if not isinstance(labels, Tensor) or labels.dtype == torch.bool or labels.is_floating_point():
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise InputError(f"labels are {kind}; pass a tensor of whole numbers, such as torch.int64")
    if labels.shape != rows.shape[:1]:
        raise InputError(
            f"labels of shape {tuple(labels.shape)} for {len(rows)} rows; pass one per row"
        )
    if labels.device != rows.device:
        raise InputError(
            f"labels are on {labels.device} and rows on {rows.device}; "
            "move them to one device by .to(...)"
        )
    return labels.long()


def match_parameter_dtype(rows: Any, parameters: Tensor) -> Any:
    """Under autocast, convert rows to the dtype of parameters; autocast halves only the rows.

    What is no tensor of floating point stays as it is, for `check_embeddings` to refuse.
    """
    if not isinstance(rows, Tensor) or not rows.is_floating_point():
        return rows
    kind = rows.device.type
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return rows.to(parameters.dtype) if is_on else rows


def at_least_float32(tensor: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
    """Widen half precision to float32: sums of exponentials need more than three digits."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def autocast_off(tensor: Tensor) -> torch.autocast:
    """Make a context in which autocast, if it is on, leaves products as they are."""
    return torch.autocast(tensor.device.type, enabled=False)
