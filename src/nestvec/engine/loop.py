"""The one training loop: precision, accumulation, evaluation, checkpoints that resume exactly.

Rows, random numbers and the learning rate of a step are functions of its number (`schedule`,
`chance`), so parameters, the optimizer's moments and the scaler are all there is to keep: on a CPU
a run that was stopped and taken up again ends with the same bits as one that was not.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nestvec.engine.checkpoint import RunFolder
from nestvec.engine.schedule import Loop, Step, steps
from nestvec.engine.seeding import generator, kept_aside, seed_of
from nestvec.engine.task import Scores, Task
from nestvec.errors import CheckpointError, InputError, NonFiniteLossError


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Held-out scores after so many steps, and the mean training loss since the one before."""

    step: int
    loss: float
    scores: Scores

    @property
    def mean(self) -> float:
        """The mean over sizes, by which the best evaluation is chosen."""
        return sum(self.scores.values()) / len(self.scores)


@dataclass(frozen=True, slots=True)
class Moment:
    """What a listener hears after every step."""

    step: int
    """Steps done."""
    steps: int
    loss: float
    rate: float
    """The learning rate."""
    evaluation: Evaluation | None
    """The one that was due after this step."""


_LEAST_SCALE = 2.0**-8
"""Losses scaled down by more than this in vain do not overflow: their gradient is not finite."""

Listener = Callable[[Moment], None]


def unheard(_: Moment) -> None:
    """The listener that does nothing."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run. `folder / "model"` holds the model of the `best` evaluation."""

    folder: Path
    metric: str
    best: Evaluation
    history: tuple[Evaluation, ...]
    stopped_early: bool

    @property
    def model(self) -> Path:
        """The folder of the model."""
        return self.folder / "model"

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {**asdict(self), "folder": str(self.folder), "model": str(self.model)}


def fit(task: Task, loop: Loop, folder: RunFolder, listen: Listener = unheard) -> Trained:
    """Train from the folder's checkpoint, or from the start, to the end; save the best model.

    A run that has already ended is reported again. Leaves the best parameters in `task`. Raises
    `NonFiniteLossError` at the first loss or gradient that is not finite, `CheckpointError` for a
    folder of another run.
    """
    run = _Run.begin(task.to(_device(loop)), loop, folder)
    with kept_aside(task.device):
        for step in steps(loop, task.rows, run.step):
            if run.is_over():
                break
            loss = run.take(step)
            due = (step.number + 1) % loop.evaluate_every == 0 or step.number + 1 == loop.steps
            evaluation = run.evaluate() if due else None
            listen(Moment(run.step, loop.steps, loss, loop.rate(step.number), evaluation))
    return run.end()


class _Run:
    """A run under way: the one mutable thing here."""

    def __init__(self, task: Task, loop: Loop, folder: RunFolder) -> None:
        self.task, self.loop, self.folder = task, loop, folder
        self.optimizer = _optimizer(task, loop)
        self.scaler = torch.amp.GradScaler(
            task.device.type, enabled=loop.precision == "float16", init_scale=2.0**12
        )
        self.step = 0
        self.history: tuple[Evaluation, ...] = ()
        self.losses: list[float] = []

    @classmethod
    def begin(cls, task: Task, loop: Loop, folder: RunFolder) -> "_Run":
        """At the folder's checkpoint, or at the start."""
        run, state = cls(task, loop, folder), folder.read()
        if state is not None:
            run._restore(state)
        return run

    def _restore(self, state: Mapping[str, Any]) -> None:
        try:
            self.task.load_state_dict(state["task"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            self.step = state["step"]
            self.history = tuple(Evaluation(**evaluation) for evaluation in state["history"])
        except (KeyError, RuntimeError, TypeError, ValueError) as e:
            raise CheckpointError(
                f"{self.folder.path} has a checkpoint that does not fit this model "
                f"({str(e).splitlines()[0]}); other versions of the libraries wrote it, or it is "
                "damaged: use another folder, or overwrite the run"
            ) from e

    @property
    def best(self) -> Evaluation:
        """The earliest of the best evaluations."""
        return max(self.history, key=lambda evaluation: evaluation.mean)

    def is_over(self) -> bool:
        """Whether patience has run out."""
        if self.loop.patience is None or not self.history:
            return False
        after = len(self.history) - 1 - self.history.index(self.best)
        return after >= self.loop.patience

    def take(self, step: Step) -> float:
        """One step; its loss."""
        if step.starts_epoch:
            with self._looking():
                self.task.start_epoch(step.epoch)
        self.task.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.loop.rate(step.number)
        self.optimizer.zero_grad()
        loss = sum(self._backward(step, part) for part in range(self.loop.accumulate))
        self.scaler.unscale_(self.optimizer)
        self._clip(step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step = step.number + 1
        self.losses.append(loss)
        return loss

    def _backward(self, step: Step, part: int) -> float:
        """Add the gradient of one batch of the step; its share of the loss."""
        place = (self.loop.seed, "step", step.number, part)
        torch.manual_seed(seed_of(*place))
        batch = self.task.batch(step.batches[part], generator(*place))
        with self._autocast():
            outputs = self.task(batch)
        loss = self.task.loss(outputs, batch) / self.loop.accumulate
        if not math.isfinite(value := float(loss.detach())):
            self._fail(step, f"loss of its batch {part + 1} of {self.loop.accumulate}", value)
        self.scaler.scale(loss).backward()
        return value

    def _clip(self, step: Step) -> None:
        clip = self.loop.clip or math.inf
        length = float(nn.utils.clip_grad_norm_(self.task.parameters(), clip))
        # In float16 overflow is ordinary: the scaler skips the step and lowers its scale. Where no
        # scale helps, it would do so for ever.
        ordinary = self.scaler.is_enabled() and self.scaler.get_scale() > _LEAST_SCALE
        if not math.isfinite(length) and not ordinary:
            self._fail(step, "gradient", length)

    def _fail(self, step: Step, what: str, value: float) -> None:
        rows = torch.cat(step.batches)
        path = self.folder.write({**self._state(), "rows": rows}, "failed.pt")
        raise NonFiniteLossError(
            f"step {step.number + 1} (epoch {step.epoch + 1}): the {what} is {value}; the "
            f"parameters before this step and its {len(rows)} rows are in {path}; look for bad "
            "rows, lower loop.learning_rate or raise loop.warmup"
        )

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = getattr(torch, self.loop.precision)
        enabled = dtype != torch.float32
        context: AbstractContextManager[Any] = torch.autocast(
            self.task.device.type, dtype if enabled else torch.bfloat16, enabled=enabled
        )
        return context

    def _looking(self) -> AbstractContextManager[Any]:
        """Nothing is trained, and dropout is off, until the next step."""
        self.task.eval()
        context: AbstractContextManager[Any] = torch.no_grad()
        return context

    def evaluate(self) -> Evaluation:
        """Measure, keep the best parameters, write the checkpoint."""
        with self._looking():
            scores = self.task.evaluate()
        evaluation = Evaluation(self.step, sum(self.losses) / len(self.losses), scores)
        self.losses = []
        self.history = (*self.history, evaluation)
        if self.best is evaluation:
            self.folder.write({"task": self.task.state_dict()}, "best.pt")
        self.folder.write(self._state())
        return evaluation

    def _state(self) -> Mapping[str, Any]:
        return {
            "step": self.step,
            "task": self.task.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": [asdict(evaluation) for evaluation in self.history],
        }

    def end(self) -> Trained:
        """Bring back the best parameters and save their model."""
        self.task.load_state_dict(self.folder.read_best())
        self.task.eval()
        model = self.folder.path / "model"
        model.mkdir(exist_ok=True)
        self.task.save(model)
        early = self.history[-1].step < self.loop.steps
        return Trained(self.folder.path, self.task.metric, self.best, self.history, early)


def _optimizer(task: Task, loop: Loop) -> torch.optim.Optimizer:
    trained = [parameter for parameter in task.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": loop.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    if loop.optimizer == "sgd":
        return torch.optim.SGD(groups, loop.learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, loop.learning_rate)


def _device(loop: Loop) -> torch.device:
    if loop.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(loop.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        raise InputError(
            f"loop.device={loop.device!r} is not here ({str(e).splitlines()[0]}); use cpu or auto"
        ) from None
    return device
