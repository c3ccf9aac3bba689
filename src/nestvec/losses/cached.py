"""Batches larger than memory: the loss sees all rows, the encoder a mini-batch at a time."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nestvec.deprecation import renamed_arguments
from nestvec.errors import InputError
from nestvec.shapes import Float


@renamed_arguments({"pieces": "mini_batches"})
def cached_encode(
    encode: Callable[[Any], Float[Tensor, "rows dim"]], mini_batches: Iterable[Any]
) -> Float[Tensor, "n dim"]:
    """Encode mini-batches to rows, with the activations of one mini-batch in memory at a time.

    A loss of these rows has the value and the gradients that it has for rows encoded together:
    that is GradCache (Gao et al., 2021), at the price of a second forward pass. `backward` encodes
    each mini-batch again, with the same random state, when it has the gradient of its rows. Layers
    that mix rows (batch norm) see a mini-batch instead of the batch, and see it twice.

    Call `backward` as on any loss; gradient scalers and accumulation do what they always do.
    """
    # Checkpointing is all it takes: `backward` finishes a mini-batch before it begins the next.
    rows = [checkpoint(encode, mini_batch, use_reentrant=False) for mini_batch in mini_batches]
    if not rows:
        raise InputError("there are no mini-batches to encode; pass at least one")
    return torch.cat(rows)
