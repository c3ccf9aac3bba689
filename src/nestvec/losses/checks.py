"""What tensors of one loss must have in common."""

import torch
from torch import Tensor

from nestvec.errors import VectorsError
from nestvec.shapes import Float


def check_embeddings(**named: Tensor) -> int:
    """The common width of 2-D floating tensors on one device and of one dtype, else `VectorsError`.

    Autocast and gathering leave a batch in one dtype: two of them in one loss are a mistake
    upstream that a silent promotion would hide.
    """
    for name, tensor in named.items():
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


def at_least_float32(tensor: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
    """Half precision widened: sums of exponentials need more than three digits."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
