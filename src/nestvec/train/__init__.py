"""Training nested models: heads, recipes on one loop, parts for Sentence Transformers' trainer.

`docs/how-to/training.md` has the recipes and their settings.
"""

from nestvec.extras import require

require("torch", "train")  # every module below is made of it: say so before they fail

from nestvec.engine.loop import Evaluation, Moment, Trained  # noqa: E402
from nestvec.engine.schedule import Loop  # noqa: E402
from nestvec.train.models.nested_head import NestedHead  # noqa: E402
from nestvec.train.recipes.clip import ClipConfig, train_clip  # noqa: E402
from nestvec.train.recipes.image import ImageConfig, train_image  # noqa: E402
from nestvec.train.recipes.mlm import MlmConfig, train_mlm  # noqa: E402
from nestvec.train.recipes.text import TextConfig, train_text  # noqa: E402

__all__ = [
    "ClipConfig",
    "Evaluation",
    "ImageConfig",
    "Loop",
    "MlmConfig",
    "Moment",
    "NestedHead",
    "TextConfig",
    "Trained",
    "train_clip",
    "train_image",
    "train_mlm",
    "train_text",
]
