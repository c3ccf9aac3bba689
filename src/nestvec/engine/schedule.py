"""What happens at which step: settings of the loop, and pure functions of the step."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from nestvec.engine.seeding import generator
from nestvec.engine.validators import above_zero, at_least
from nestvec.errors import InputError
from nestvec.shapes import Int64


@dataclass(frozen=True, slots=True)
class Loop:
    """How to train, whatever is trained.

    One step takes `accumulate` batches of `batch_size` rows and moves the parameters once, by the
    mean of their gradients.
    """

    steps: int = 1000
    batch_size: int = 64
    accumulate: int = 1
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """sgd has Nesterov momentum 0.9."""
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    """Of matrices; biases and scales of norms have none."""
    warmup: float = 0.1
    """The share of steps in which the learning rate rises from 0."""
    decay: Literal["cosine", "linear", "constant"] = "cosine"
    """How it goes to 0 then."""
    clip: float | None = 1.0
    """The longest gradient; longer ones are scaled to it."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the model's forward pass (autocast); parameters and the loss stay float32."""
    evaluate_every: int = 100
    """Steps between evaluations, each followed by a checkpoint; there is one after the last."""
    patience: int | None = None
    """Stop after so many evaluations without a better mean over sizes."""
    seed: int = 0
    device: str = "auto"
    """auto is cuda where there is one, else cpu."""

    def __post_init__(self) -> None:
        counted = ("steps", "batch_size", "accumulate", "evaluate_every", "patience")
        at_least(1, **{f"loop.{name}": getattr(self, name) for name in counted})
        above_zero(**{f"loop.{name}": getattr(self, name) for name in ("learning_rate", "clip")})
        at_least(0, **{"loop.weight_decay": self.weight_decay})
        if not 0 <= self.warmup < 1:
            raise InputError(
                f"loop.warmup={self.warmup} is to be a share of the steps, from 0 to below 1"
            )

    def rate(self, step: int) -> float:
        """The learning rate of a step, steps counted from 0. Never 0: every step moves."""
        rising = math.ceil(self.warmup * self.steps)
        if step < rising:
            return self.learning_rate * (step + 1) / (rising + 1)
        done = (step - rising) / max(1, self.steps - rising)
        shares = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}
        return self.learning_rate * shares[self.decay]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Which rows a step takes, batch by batch."""

    number: int
    epoch: int
    starts_epoch: bool
    batches: tuple[Int64[Tensor, " batch"], ...] = field(repr=False)


def steps(loop: Loop, rows: int, first: int = 0) -> Iterator[Step]:
    """The steps from number `first` on: every epoch is a new order, its last rows are left over.

    Raises `InputError` where the rows do not make one step.
    """
    size = loop.batch_size * loop.accumulate
    per_epoch = rows // size
    if per_epoch == 0:
        raise InputError(
            f"{rows} training rows do not make one step of batch_size {loop.batch_size} × "
            f"accumulate {loop.accumulate}; use a smaller loop.batch_size or more data"
        )
    for epoch in range(first // per_epoch, math.ceil(loop.steps / per_epoch)):
        order = torch.randperm(rows, generator=generator(loop.seed, "order", epoch))
        for number in range(max(first, epoch * per_epoch), (epoch + 1) * per_epoch):
            if number == loop.steps:
                return
            start = (number - epoch * per_epoch) * size
            batches = order[start : start + size].split(loop.batch_size)
            yield Step(number, epoch, number == epoch * per_epoch, batches)
