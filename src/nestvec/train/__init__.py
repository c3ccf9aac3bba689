"""Training nested models: heads, the loss and the evaluation for Sentence Transformers' trainer."""

from nestvec.extras import require

require("torch", "train")  # every module below is made of it: say so before they fail

from nestvec.train.head import NestedHead  # noqa: E402

__all__ = ["NestedHead"]
