"""Training of nested models: recipes on one loop, heads, and parts for Sentence Transformers.

`docs/how-to/training.md` has the recipes and their settings.
"""

from nestvec.deprecation import renamed_attributes
from nestvec.extras import require

require("torch", "train")  # every module below imports torch: this error says how to install it

from nestvec.engine.loop import StepEvent, TrainingResult  # noqa: E402
from nestvec.engine.schedule import Loop  # noqa: E402
from nestvec.engine.task import Evaluation  # noqa: E402
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
    "NestedHead",
    "StepEvent",
    "TextConfig",
    "TrainingResult",
    "train_clip",
    "train_image",
    "train_mlm",
    "train_text",
]

__getattr__ = renamed_attributes(
    __name__,
    {"Moment": ("StepEvent", StepEvent), "Trained": ("TrainingResult", TrainingResult)},
)
