"""The schedule of a run: the settings of the loop, and rows and learning rate by step number."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from nestvec.engine.seeding import generator
from nestvec.engine.validators import check_at_least, check_positive
from nestvec.errors import InputError
from nestvec.shapes import Int64


@dataclass(frozen=True, slots=True)
class Loop:
    """Settings of a training run that do not depend on what is trained.

    One step takes `accumulate` batches of `batch_size` rows and updates the parameters once, by
    the mean of their gradients.
    """

    steps: int = 1000
    batch_size: int = 64
    accumulate: int = 1
    """Batches whose gradients are averaged in one step (gradient accumulation)."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """`sgd` has Nesterov momentum 0.9."""
    learning_rate: float = 1e-3
    """The highest one, reached at the end of the warm-up."""
    weight_decay: float = 0.01
    """Applies to matrices; biases and the scales of norms have none."""
    warmup: float = 0.1
    """The share of steps in which the learning rate rises from 0."""
    decay: Literal["cosine", "linear", "constant"] = "cosine"
    """The curve by which it then falls to 0."""
    clip: float | None = 1.0
    """The largest gradient norm; longer gradients are scaled to it. None: no limit."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the model's forward pass (autocast); parameters and the loss stay float32."""
    evaluate_every: int = 100
    """Steps between evaluations, each followed by a checkpoint; there is one after the last."""
    patience: int | None = None
    """Stop after so many evaluations without a better mean score; None: never."""
    seed: int = 0
    device: str = "auto"
    """`auto` is cuda where there is one, else cpu."""

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "accumulate", "evaluate_every", "patience")
        check_at_least(1, **{f"loop.{name}": getattr(self, name) for name in counts})
        positive = ("learning_rate", "clip")
        check_positive(**{f"loop.{name}": getattr(self, name) for name in positive})
        check_at_least(0, **{"loop.weight_decay": self.weight_decay})
        if not 0 <= self.warmup < 1:
            raise InputError(
                f"loop.warmup={self.warmup} must be a share of the steps: use 0 or more, and "
                "less than 1"
            )

    def rate(self, step: int) -> float:
        """Compute the learning rate of a step, counted from 0; it is never 0."""
        rising = math.ceil(self.warmup * self.steps)
        if step < rising:
            return self.learning_rate * (step + 1) / (rising + 1)
        progress = (step - rising) / max(1, self.steps - rising)
        shares = {
            "cosine": (1 + math.cos(math.pi * progress)) / 2,
            "linear": 1 - progress,
            "constant": 1.0,
        }
        return self.learning_rate * shares[self.decay]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One update of the parameters: its number, its epoch, and the rows of its batches."""

    number: int
    """Counted from 0."""
    epoch: int = 0
    starts_epoch: bool = False
    batches: tuple[Int64[Tensor, " batch"], ...] = field(default=(), repr=False)
    """Row numbers, one tensor per batch; empty where a task draws its batches by step number."""


def epoch_steps(loop: Loop, n_rows: int, first_step: int = 0) -> Iterator[Step]:
    """Yield the steps from `first_step` on: each epoch takes the rows in a new random order.

    Rows of an epoch that do not fill a step are left out of it. Raises `InputError` where all rows
    together do not fill one.
    """
    size = loop.batch_size * loop.accumulate
    per_epoch = n_rows // size
    if per_epoch == 0:
        raise InputError(
            f"{n_rows} training rows do not fill one step of batch_size {loop.batch_size} × "
            f"accumulate {loop.accumulate}; use a smaller loop.batch_size or more data"
        )
    for epoch in range(first_step // per_epoch, math.ceil(loop.steps / per_epoch)):
        order = torch.randperm(n_rows, generator=generator(loop.seed, "order", epoch))
        for number in range(max(first_step, epoch * per_epoch), (epoch + 1) * per_epoch):
            if number == loop.steps:
                return
            start = (number - epoch * per_epoch) * size
            batches = order[start : start + size].split(loop.batch_size)
            yield Step(number, epoch, number == epoch * per_epoch, batches)
