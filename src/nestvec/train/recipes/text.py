"""Fine-tuning a Sentence Transformers model so that every prefix of its rows finds documents."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nestvec.engine.checkpoint import RunFolder, fingerprint
from nestvec.engine.loop import Listener, TrainingResult, no_op, train_task
from nestvec.engine.schedule import Loop
from nestvec.engine.seeding import seeded_global_rng
from nestvec.errors import InputError
from nestvec.train.data.pairs import Pairs
from nestvec.train.evaluation.positive_ranks import ndcg_at_10
from nestvec.train.models.bert import Bert
from nestvec.train.models.towers import Pretrained, build_text_tower
from nestvec.train.recipes.contrastive import ContrastiveConfig, ContrastTask, Mining

_LOOP = Loop(steps=300, learning_rate=2e-5, weight_decay=0.01)


@dataclass(frozen=True, slots=True)
class TextConfig:
    """A model for questions and documents alike, and how it is tuned."""

    dims: tuple[int, ...] = (32, 64, 128, 256, 384)
    """The sizes that are trained. One alone is a plain fine-tune at that size."""
    measured: tuple[int, ...] | None = None
    """The sizes that are evaluated; else those that are trained."""
    model: Pretrained | Bert = field(default_factory=Pretrained)
    rotated: bool = False
    """Turn rows before training so that the principal directions of the training texts come first:
    full width is what it was, and prefixes begin as PCA leaves them."""
    weights: tuple[float, ...] | Literal["uniform", "front"] = "uniform"
    temperature: float = 0.05
    bidirectional: bool = False
    at_once: int | None = None
    """Encode so many texts at a time (GradCache): large batches in little memory, at one more
    forward pass."""
    guardrail: float = 0.0
    """Weight of holding full width to that of the untrained model; it takes some 1,000."""
    mining: Mining | None = None
    """Hard negatives mined at a prefix."""
    loop: Loop = _LOOP


def train_text(
    data: tuple[Pairs, Pairs], config: TextConfig, folder: Path, listen: Listener = no_op
) -> TrainingResult:
    """Tune on the first pairs, held against the second, in `folder`; or go on there.

    The metric is nDCG@10 of held-out questions among all held-out documents, at each size, by
    cosines of renormalised prefixes. `folder / "model"` then holds a Sentence Transformers model:
    load it with `truncate_dim`, or name it to `nestvec encode --model`.
    """
    place = RunFolder.for_run(folder, "text", config, pairs_fingerprint(data))
    return train_task(text_task(data, config), config.loop, place, listen)


def text_task(data: tuple[Pairs, Pairs], config: TextConfig) -> ContrastTask:
    """The task of `train_text`: one tower for both sides."""
    train, held_out = data
    if not all(isinstance(pairs.left, tuple) for pairs in data):
        raise InputError("train_text takes texts on both sides; for images use train_clip")
    with seeded_global_rng(config.loop.seed, "model"):
        texts = (*train.left, *train.right)
        tower = build_text_tower(config.model, texts, None)
        tower = tower.rotated(texts) if config.rotated else tower
    goal = ContrastiveConfig(
        config.dims,
        config.weights,
        config.temperature,
        learn_temperature=False,
        bidirectional=config.bidirectional,
        at_once=config.at_once,
        guardrail=config.guardrail,
        mining=config.mining,
        sizes=tuple((dim, dim) for dim in sorted(config.measured or config.dims)),
        metric="nDCG@10",
        measure=ndcg_at_10,
    )
    return ContrastTask(tower, tower, train, held_out, goal)


def pairs_fingerprint(data: tuple[Pairs, Pairs]) -> str:
    """What a checkpoint remembers of its pairs."""
    parts = [p for pairs in data for p in (pairs.left, pairs.right, pairs.own, pairs.negatives)]
    return fingerprint(*parts)
