"""Training of two towers: images and texts, or two kinds of texts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from nestvec.deprecation import renamed_fields
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


@renamed_fields({"left": "query_tower", "right": "document_tower", "at_once": "mini_batch_size"})
@dataclass(frozen=True, slots=True)
class ClipConfig:
    """Settings of the recipe `clip`: a tower for queries and one for documents."""

    dims: tuple[int, ...] = (16, 32, 64, 128)
    """The nesting dims; the largest is the width of both towers."""
    query_tower: Bert | Pretrained | ResNet | ViT = field(default_factory=Bert)
    document_tower: Bert | Pretrained = field(default_factory=Bert)
    weights: tuple[float, ...] | Literal["uniform", "front"] = "uniform"
    temperature: float = 0.07
    """The temperature at the start; it is learned."""
    mini_batch_size: int | None = None
    """Items to encode at a time (GradCache)."""
    loop: Loop = field(default_factory=Loop)

    def __post_init__(self) -> None:
        NestingDims.for_widest(self.dims, self.weights)


def train_clip(
    data: tuple[Pairs, Pairs], config: ClipConfig, folder: Path, listen: Listener = no_op
) -> TrainingResult:
    """Train two towers on training pairs and held-out pairs in `folder`, or resume the run there.

    The metric is recall@1 of held-out queries among all held-out documents, at every pair of dims:
    "16 x 128" compares query prefixes of 16 with documents stored at 128. `folder / "model"` then
    holds the query tower in `left` and the document tower in `right`.
    """
    train, held_out = data
    run_folder = RunFolder.for_run(folder, "clip", config, pairs_fingerprint(data))
    width = max(config.dims)
    with seeded_global_rng(config.loop.seed, "model"):
        query_tower = _tower(config.query_tower, train.queries, width)
        document_tower = build_text_tower(config.document_tower, train.documents, width)
    eval_dims = tuple((a, b) for a in sorted(config.dims) for b in sorted(config.dims))
    contrastive = ContrastiveConfig(
        config.dims,
        config.weights,
        config.temperature,
        learn_temperature=True,
        bidirectional=True,
        mini_batch_size=config.mini_batch_size,
        guardrail=0.0,
        mining=None,
        eval_dims=eval_dims,
        metric="recall@1",
        measure=recall_at_1,
    )
    task = ContrastTask(query_tower, document_tower, train, held_out, contrastive)
    return train_task(task, config.loop, run_folder, listen)


def _tower(settings: Bert | Pretrained | ResNet | ViT, items: Items, width: int) -> Tower:
    check_kind(items, settings)
    if isinstance(items, np.ndarray) and isinstance(settings, ResNet | ViT):
        images = Images(items, np.zeros(len(items), dtype=np.int64), ("image",))
        return ImageTower(build_model(images, settings, width))
    assert isinstance(settings, Bert | Pretrained) and isinstance(items, tuple)
    return build_text_tower(settings, items, width)
