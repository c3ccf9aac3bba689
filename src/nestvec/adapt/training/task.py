"""`AdaptorTask`: an adaptor with its data, losses and validation queries, for the engine."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nestvec.adapt.config import AdaptorConfig
from nestvec.adapt.evaluation import PerQuery
from nestvec.adapt.training import losses
from nestvec.adapt.training.batches import Batches, RankingBatch
from nestvec.adapt.training.network import Network, to_transform
from nestvec.adapt.training_data import TrainingData
from nestvec.engine.checkpoint import CheckpointFile
from nestvec.engine.loop import StepEvent, optimize
from nestvec.engine.schedule import Loop, Step
from nestvec.engine.task import Evaluation, Scores, Task
from nestvec.progress import Progress, silent
from nestvec.shapes import Float, Float32
from nestvec.transforms.files import fingerprint_of
from nestvec.transforms.residual import ResidualTransform

_EVALUATIONS = 10
_WARM_UP_STEPS = 20
"""Steps in which the learning rate rises."""
_ONE_IN_20 = 1.645
"""Standard errors that a mean lies below its expectation by chance in one of 20 cases."""

Validation = Callable[[ResidualTransform], PerQuery]
"""The score of each validation query, by which training stops early."""
EvaluationListener = Callable[[int, float], None]
"""A function that gets the step and the mean validation score."""
MappedRows = tuple[Float[torch.Tensor, "q widest"], Float[torch.Tensor, "n widest"]]
"""Queries and documents, mapped."""


@dataclass(frozen=True)
class FittedAdaptor:
    """The best adaptor of a training, the step that it is of, and the validation scores."""

    transform: ResidualTransform
    step: int
    history: tuple[tuple[int, float], ...] = ()


class AdaptorTask(Task):
    """A network that begins at `initialization` and keeps the rankings of `teachers`.

    The teachers are maps whose full-width cosines are averaged. Without `validation` the last step
    is taken.
    """

    evaluates_untrained = True  # the initialization may be the best already

    def __init__(
        self,
        data: TrainingData,
        initialization: Float32[np.ndarray, "dim width"],
        teachers: Sequence[Float32[np.ndarray, "dim dim"]],
        nesting_dims: tuple[int, ...],
        config: AdaptorConfig,
        seed: int,
        validation: Validation | None = None,
    ) -> None:
        super().__init__()
        self.metric = "validation score"
        self.data, self.nesting_dims, self.config, self.seed = data, nesting_dims, config, seed
        self._initialization, self._teachers = initialization, tuple(teachers)
        self._validation = validation
        self.network = Network(initialization, nesting_dims, config, seed)

    @property
    def loop(self) -> Loop:
        """The settings of the engine's loop."""
        return Loop(
            steps=self.config.steps,
            batch_size=self.config.batch_size,
            learning_rate=self.config.learning_rate,
            clip=None,
            evaluate_every=max(1, self.config.steps // _EVALUATIONS),
            patience=self.config.patience,
            seed=self.seed,
        )

    def identity(self, last_step: int) -> dict[str, Any]:
        """Give everything that decides the course of the training, for its checkpoint."""
        return {
            **self.config.to_json(),
            "dims": list(self.nesting_dims),
            "seed": self.seed,
            "last_step": last_step,
            "data": self.data.fingerprint(),
            "initial_map": fingerprint_of(None, {"matrix": self._initialization}),
        }

    def to_transform(self) -> ResidualTransform:
        """Make the NumPy transform of the current parameters."""
        return to_transform(self.network.arrays(), self.nesting_dims)

    def steps(self, loop: Loop, first_step: int) -> Iterator[Step]:
        """Yield steps by number; batches are drawn by it."""
        return (Step(number) for number in range(first_step, loop.steps))

    def batch(self, step: Step, part: int, generator: torch.Generator) -> RankingBatch:
        """Draw the batch of a step; its seed is of the step's number, not of `generator`."""
        return self._batches.draw(step.number)

    def forward(self, batch: RankingBatch) -> MappedRows:
        """Map the queries and the documents of a batch."""
        return self.network(batch.queries), self.network(batch.documents)

    def loss(self, outputs: MappedRows, batch: RankingBatch) -> Float[torch.Tensor, ""]:
        """Sum the weighted losses over all nesting dims."""
        config, full = self.config, batch.full
        target = _target(batch, config)
        total = full.new_zeros(())
        scales = self.network.log_scales.exp()
        nested = losses.nested_scores(*outputs, self.nesting_dims)
        for scale, scores in zip(scales, nested, strict=True):
            if config.distillation_weight:
                loss = losses.distillation(scores, target, batch.mask, scale)
                total = total + config.distillation_weight * loss
            if config.pairwise_weight:
                loss = losses.pairwise(scores, full, batch.mask)
                total = total + config.pairwise_weight * loss
            if config.topk_weight:
                loss = losses.topk(scores, full, batch.mask, config.topk_neighbours)
                total = total + config.topk_weight * loss
            if config.ranking_weight:
                loss = losses.ranking(scores, batch.grades, batch.mask)
                total = total + config.ranking_weight * loss
        if config.reconstruction_weight:
            for rows, mapped in zip((batch.queries, batch.documents), outputs, strict=True):
                initial = (rows @ self._initial_map)[:, : mapped.shape[1]]
                loss = losses.reconstruction(mapped, initial)
                total = total + config.reconstruction_weight * loss
        return total

    def evaluate(self) -> Scores:
        """Score the validation queries, if there are any."""
        return (
            {} if self._validation is None else {self.metric: self._validation(self.to_transform())}
        )

    def optimizer(self, loop: Loop) -> torch.optim.Optimizer:
        """Make Adam without weight decay."""
        return torch.optim.Adam(
            [parameter for parameter in self.parameters() if parameter.requires_grad],
            loop.learning_rate,
        )

    def learning_rate(self, loop: Loop, step: int) -> float:
        """Rise linearly over 20 steps, and fall by a cosine from the first step on."""
        rise = min(1.0, (step + 1) / _WARM_UP_STEPS)
        fall = (1 + math.cos(math.pi * step / loop.steps)) / 2
        return loop.learning_rate * rise * fall

    def prefers(self, latest: Evaluation, peak: Evaluation) -> bool:
        """Take the latest parameters, unless they are significantly below the peak.

        The highest mean of ten evaluations with few queries is mostly luck, and its step too early.
        """
        return latest.mean > peak.mean or not is_significantly_below(
            latest.per_query[self.metric], peak.per_query[self.metric]
        )

    @cached_property
    def _batches(self) -> Batches:
        """The batches on the device of the network, where the engine has moved it."""
        return Batches(self.data, self._teachers, self.config, self.seed, str(self.device))

    @cached_property
    def _initial_map(self) -> Float[torch.Tensor, "dim width"]:
        return torch.tensor(self._initialization, device=self.device)


def train_adaptor(
    task: AdaptorTask,
    checkpoint: Path | None = None,
    *,
    last_step: int | None = None,
    on_evaluation: EvaluationListener | None = None,
    progress: Progress = silent,
) -> FittedAdaptor:
    """Train a task with the engine, from the checkpoint file if there is one.

    `last_step` ends the training earlier, with the learning rates of the whole. `CheckpointError`
    for the checkpoint of another training, `NonFiniteLossError` where the loss is not finite.
    """
    n_steps = task.config.steps if last_step is None else last_step
    store = CheckpointFile(checkpoint, task.identity(n_steps))
    steps_shown = 0

    with progress("Training", n_steps) as advance:

        def listen(event: StepEvent) -> None:
            nonlocal steps_shown
            advance(event.step - steps_shown)
            steps_shown = event.step
            if on_evaluation is not None and event.evaluation and event.evaluation.scores:
                on_evaluation(event.step, event.evaluation.mean)

        ended = optimize(task, task.loop, store, listen, last_step=n_steps)
    history = tuple((e.step, e.mean) for e in ended.history if e.scores)
    return FittedAdaptor(task.to_transform(), ended.best.step, history)


def is_significantly_below(scores: PerQuery, peak: PerQuery) -> bool:
    """Test whether scores are below the peak's, paired by query, at a level of 5 %."""
    difference = scores - peak
    standard_error = difference.std(ddof=1) / len(difference) ** 0.5
    return bool(difference.mean() < -_ONE_IN_20 * standard_error)


def _target(batch: RankingBatch, config: AdaptorConfig) -> Float[torch.Tensor, "q n"]:
    """Mix the full-width ranking with a query's judgments, where it has any."""
    ranking = losses.ranking_to_keep(batch.full, batch.mask, config.temperature)
    sums = batch.grades.sum(dim=1, keepdim=True)
    share = torch.where(sums > 0, config.label_share, 0.0)
    return (1 - share) * ranking + share * batch.grades / sums.clamp(min=1e-9)
