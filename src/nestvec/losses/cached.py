"""Batches larger than memory: the loss sees all of them, the encoder some rows at a time."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nestvec.errors import InputError
from nestvec.shapes import Float


def cached_encode(
    encode: Callable[[Any], Float[Tensor, "piece dim"]], pieces: Iterable[Any]
) -> Float[Tensor, "n dim"]:
    """The rows of all pieces, of which only one is held with its activations at a time.

    A loss of these rows has the value and the gradients that it has for rows encoded at once: that
    is GradCache (Gao et al., 2021), at the price of a second forward pass. `backward` encodes each
    piece again, with the same random state, when it has the gradient of its rows. Layers that mix
    rows (batch norm) see a piece instead of the batch, and see it twice.

    Call `backward` as on any loss; gradient scalers and accumulation do what they always do.
    """
    # Checkpointing is all it takes: `backward` is done with a piece before it takes up the next.
    rows = [checkpoint(encode, piece, use_reentrant=False) for piece in pieces]
    if not rows:
        raise InputError("there are no pieces to encode; give at least one")
    return torch.cat(rows)
