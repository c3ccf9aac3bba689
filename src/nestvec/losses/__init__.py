"""Losses of nested (Matryoshka) training: tensors in, scalar out; nothing sees or wraps a model.

A nested loss takes `dims`, the nesting dims in any order, and is the sum over prefixes of weight ×
loss on that prefix alone; weights are 1 by default. With one prefix it *is* the plain loss on that
prefix. `nested_cross_entropy` takes the logits of each prefix in place of `dims`, and `guardrail`
compares full widths. The others prepare vectors for a loss.
`docs/how-to/losses.md` says when to use which.
"""

from nestvec.extras import require

require("torch", "train")  # every module below imports torch: this error says how to install it

from nestvec.losses.cached import cached_encode  # noqa: E402
from nestvec.losses.cross_entropy import (  # noqa: E402
    nested_cross_entropy,
    nested_masked_lm,
    nested_tied_cross_entropy,
    tied_logits,
)
from nestvec.losses.distillation import (  # noqa: E402
    guardrail,
    nested_mse,
    nested_neighbours,
    nested_similarity,
)
from nestvec.losses.gather import gather  # noqa: E402
from nestvec.losses.info_nce import nested_info_nce  # noqa: E402
from nestvec.losses.regularizers import nested_spread_out, straight_through_sign  # noqa: E402

__all__ = [
    "cached_encode",
    "gather",
    "guardrail",
    "nested_cross_entropy",
    "nested_info_nce",
    "nested_masked_lm",
    "nested_mse",
    "nested_neighbours",
    "nested_similarity",
    "nested_spread_out",
    "nested_tied_cross_entropy",
    "straight_through_sign",
    "tied_logits",
]
