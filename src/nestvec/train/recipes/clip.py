"""Two towers, one for each side: images and texts, or texts of two kinds."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from nestvec.engine.checkpoint import RunFolder
from nestvec.engine.loop import Listener, TrainingResult, no_op, train_task
from nestvec.engine.schedule import Loop
from nestvec.engine.seeding import seeded_global_rng
from nestvec.losses.nesting_dims import NestingDims
from nestvec.train.data.images import Images
from nestvec.train.data.pairs import Items, Pairs
from nestvec.train.evaluation.positive_ranks import recall_at_1
from nestvec.train.models.bert import Bert
from nestvec.train.models.image_model import ResNet, ViT
from nestvec.train.models.towers import ImageTower, Pretrained, Tower, build_text_tower, check_kind
from nestvec.train.recipes.contrastive import ContrastiveConfig, ContrastTask
from nestvec.train.recipes.image import build_model
from nestvec.train.recipes.text import pairs_fingerprint


@dataclass(frozen=True, slots=True)
class ClipConfig:
    """A tower for each side, and how both are trained."""

    dims: tuple[int, ...] = (16, 32, 64, 128)
    """The sizes; the largest is the width of both sides."""
    left: Bert | Pretrained | ResNet | ViT = field(default_factory=Bert)
    right: Bert | Pretrained = field(default_factory=Bert)
    weights: tuple[float, ...] | Literal["uniform", "front"] = "uniform"
    temperature: float = 0.07
    """Where it starts; it is learned."""
    at_once: int | None = None
    """Encode so many items at a time (GradCache)."""
    loop: Loop = field(default_factory=Loop)

    def __post_init__(self) -> None:
        NestingDims.for_widest(self.dims, self.weights)


def train_clip(
    data: tuple[Pairs, Pairs], config: ClipConfig, folder: Path, listen: Listener = no_op
) -> TrainingResult:
    """Train two towers on the first pairs, held against the second, in `folder`; or go on there.

    The metric is recall@1 of held-out left items among all held-out texts, at every pair of sizes:
    "16 x 128" compares left prefixes of 16 with texts stored at 128. `folder / "model"` then holds
    a folder for each side.
    """
    train, held_out = data
    place = RunFolder.for_run(folder, "clip", config, pairs_fingerprint(data))
    width = max(config.dims)
    with seeded_global_rng(config.loop.seed, "model"):
        left = _tower(config.left, train.left, width)
        right = build_text_tower(config.right, train.right, width)
    sizes = tuple((a, b) for a in sorted(config.dims) for b in sorted(config.dims))
    goal = ContrastiveConfig(
        config.dims,
        config.weights,
        config.temperature,
        learn_temperature=True,
        bidirectional=True,
        at_once=config.at_once,
        guardrail=0.0,
        mining=None,
        sizes=sizes,
        metric="recall@1",
        measure=recall_at_1,
    )
    return train_task(ContrastTask(left, right, train, held_out, goal), config.loop, place, listen)


def _tower(settings: Bert | Pretrained | ResNet | ViT, items: Items, width: int) -> Tower:
    check_kind(items, settings)
    if isinstance(items, np.ndarray) and isinstance(settings, ResNet | ViT):
        images = Images(items, np.zeros(len(items), dtype=np.int64), ("any",))
        return ImageTower(build_model(images, settings, width))
    assert isinstance(settings, Bert | Pretrained) and isinstance(items, tuple)
    return build_text_tower(settings, items, width)
