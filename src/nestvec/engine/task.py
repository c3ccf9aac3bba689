"""The interface of the engine: a `Task` is a model with its data, its loss and its evaluation.

The engine does the rest, the same for every task: precision, gradient accumulation, clipping,
evaluations, early stopping, and checkpoints from which a run resumes to the last bit.

A task must define five things:

    metric                          the name of what it measures on held-out data
    steps(loop, first_step)         the steps that are still to do
    batch(step, part, generator)    the data of one batch of a step
    forward(batch), loss(...)       the model and the number to make small
    evaluate()                      held-out scores, larger is better

and may replace four choices, each of which has a usual default:

    optimizer(loop)                 AdamW or SGD, by the settings of the loop
    learning_rate(loop, step)       warm-up and decay, by the settings of the loop
    prefers(latest, peak)           which evaluation's parameters are the best: the highest mean
    evaluates_untrained             whether an evaluation comes before the first step: no

Three rules make a run resume exactly. All that training changes is in `state_dict()`: parameters,
or buffers (`register_buffer("name", torch.from_numpy(array))` for a NumPy array). All that is
random follows from the step number: draw from the generator that `batch` gets, or seed one with
the number. `evaluate` changes nothing.

`EpochTask` is the base of tasks that take the rows of a data set in shuffled epochs, and whose
model is saved for use: every recipe of `nestvec.train` is one.

    train_task(task, loop, RunFolder(...))  # in a folder, with checkpoints and the best model
    optimize(task, loop, CheckpointFile(path, identity))  # leaves the best parameters in `task`
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nestvec.engine.schedule import Loop, Step, epoch_steps
from nestvec.shapes import Float, Float64, Int64

QueryScores = Float64[np.ndarray, " q"]
"""A score per held-out query."""

Scores = Mapping[str, float | QueryScores]
"""Held-out scores by name, larger is better; the name is the dims, such as "64" or "16 x 64"."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Held-out scores after `step` steps, and the mean training loss since the last evaluation."""

    step: int
    loss: float
    """NaN before the first step."""
    scores: dict[str, float]
    per_query: dict[str, QueryScores] = field(default_factory=dict, compare=False, repr=False)
    """The values behind those scores that the task gave query by query; not kept in `history`."""

    @classmethod
    def from_scores(cls, step: int, loss: float, scores: Scores) -> "Evaluation":
        """Make an evaluation of what a task measured; scores per query count by their mean."""
        per_query = {name: value for name, value in scores.items() if isinstance(value, np.ndarray)}
        means = {name: float(np.mean(value)) for name, value in per_query.items()}
        return cls(step, loss, {**scores, **means}, per_query)  # type: ignore[dict-item]

    @property
    def mean(self) -> float:
        """The mean over all scores; NaN where nothing is held out."""
        return sum(self.scores.values()) / len(self.scores) if self.scores else math.nan

    def to_json(self) -> dict[str, Any]:
        """Give step, loss and scores as JSON values."""
        return {"step": self.step, "loss": self.loss, "scores": self.scores}


class Task(nn.Module, ABC):
    """A model with its data, its loss and its evaluation; the module's docstring has the rules."""

    metric: str
    """The name of what `evaluate` measures."""
    evaluates_untrained: bool = False
    """Whether the parameters before the first step are evaluated, and may be the best."""

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        device: torch.device = next(self.parameters()).device
        return device

    @abstractmethod
    def steps(self, loop: Loop, first_step: int) -> Iterator[Step]:
        """Yield the steps from number `first_step` on, up to `loop.steps`."""

    @abstractmethod
    def batch(self, step: Step, part: int, generator: torch.Generator) -> Any:
        """Make batch `part` of a step, as `forward` takes it; `generator` is seeded for it."""

    @abstractmethod
    def forward(self, batch: Any) -> Any:
        """Compute the model's outputs, under autocast in the precision of the loop."""

    @abstractmethod
    def loss(self, outputs: Any, batch: Any) -> Float[Tensor, ""]:
        """Compute the loss in float32, whatever the type of the outputs."""

    @abstractmethod
    def evaluate(self) -> Scores:
        """Measure held-out data: a number or a score per query, at every trained dims.

        Scores per query let `prefers` compare two evaluations paired. A task that holds nothing out
        gives no score; then the latest parameters are the best, and training never stops early.
        """

    def start_epoch(self, epoch: int) -> None:
        """Prepare an epoch, counted from 0, before its first step. Most tasks need nothing."""

    def optimizer(self, loop: Loop) -> torch.optim.Optimizer:
        """Make the optimizer of all parameters with a gradient; weight decay is for matrices."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": loop.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        if loop.optimizer == "sgd":
            return torch.optim.SGD(groups, loop.learning_rate, momentum=0.9, nesterov=True)
        return torch.optim.AdamW(groups, loop.learning_rate)

    def learning_rate(self, loop: Loop, step: int) -> float:
        """Give the learning rate of a step, counted from 0."""
        return loop.rate(step)

    def prefers(self, latest: Evaluation, peak: Evaluation) -> bool:
        """Decide whether the latest parameters become the best ones.

        `peak` is the earlier evaluation with the highest mean; `peak.per_query` is there too.
        Patience counts the evaluations since the highest mean, whatever is decided here.
        """
        return latest.mean > peak.mean


class EpochTask(Task):
    """A task that takes the rows of a data set in shuffled epochs, and whose model is saved."""

    rows: int
    """The number of training rows."""

    def steps(self, loop: Loop, first_step: int) -> Iterator[Step]:
        """Yield the steps of shuffled epochs."""
        return epoch_steps(loop, self.rows, first_step)

    def batch(self, step: Step, part: int, generator: torch.Generator) -> Any:
        """Make the batch of the rows that the step names."""
        return self.row_batch(step.batches[part], generator)

    @abstractmethod
    def row_batch(self, rows: Int64[Tensor, " batch"], generator: torch.Generator) -> Any:
        """Make a batch of these training rows; what is random in it is drawn from `generator`."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model for use, into an existing folder."""
