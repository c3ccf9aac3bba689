"""The training loop: precision, accumulation, evaluations, and checkpoints that resume exactly.

Rows, random numbers and the learning rate of a step are functions of its number (`schedule`,
`seeding`), so a checkpoint needs only the parameters, the optimizer's moments, the scaler and the
history. On a CPU a run that was stopped and resumed ends with the same bits as one that was not.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nestvec.deprecation import renamed_fields
from nestvec.engine.checkpoint import CheckpointStore, RunFolder
from nestvec.engine.schedule import Loop, Step
from nestvec.engine.seeding import derive_seed, generator, preserve_global_rng
from nestvec.engine.task import EpochTask, Evaluation, Task
from nestvec.errors import CheckpointError, InputError, NonFiniteLossError

_MIN_SCALE = 2.0**-8
"""The loss scale of float16 below which a gradient that is not finite is no longer overflow."""


@renamed_fields({"rate": "learning_rate"})
@dataclass(frozen=True, slots=True)
class StepEvent:
    """The message that a listener gets after every step."""

    step: int
    """The number of steps done."""
    steps: int
    """The number of steps of the whole run."""
    loss: float
    learning_rate: float
    evaluation: Evaluation | None
    """The evaluation after this step, where one was due."""


Listener = Callable[[StepEvent], None]


def no_op(_: StepEvent) -> None:
    """Ignore an event: the usual listener."""


@dataclass(frozen=True, slots=True)
class TrainingHistory:
    """The evaluations of a run that has ended, and the one whose parameters were taken."""

    best: Evaluation
    history: tuple[Evaluation, ...]
    stopped_early: bool
    """Whether patience ran out before the last step."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A finished run in a folder; `model` holds the model of the `best` evaluation."""

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
        """Give everything as JSON values."""
        return {
            "folder": str(self.folder),
            "metric": self.metric,
            "best": self.best.to_json(),
            "history": [evaluation.to_json() for evaluation in self.history],
            "stopped_early": self.stopped_early,
            "model": str(self.model),
        }


def train_task(
    task: EpochTask, loop: Loop, folder: RunFolder, listener: Listener = no_op
) -> TrainingResult:
    """Train in a folder, from its checkpoint or from the start; save the best model there.

    A run that has already ended is reported again without a step. Errors are those of `optimize`.
    """
    ended = optimize(task, loop, folder, listener)
    model = folder.path / "model"
    model.mkdir(exist_ok=True)
    task.save(model)
    return TrainingResult(folder.path, task.metric, ended.best, ended.history, ended.stopped_early)


def optimize(
    task: Task,
    loop: Loop,
    checkpoints: CheckpointStore,
    listener: Listener = no_op,
    *,
    last_step: int | None = None,
) -> TrainingHistory:
    """Train from the checkpoint, or from the start, and leave the best parameters in `task`.

    `last_step` ends the run earlier than `loop.steps`, with the learning rates of the whole run; it
    is 1 or more, or 0 for a task that evaluates its untrained parameters.
    Raises `NonFiniteLossError` at the first loss or gradient that is not finite, and
    `CheckpointError` for the checkpoint of another run.
    """
    n_steps = loop.steps if last_step is None else min(last_step, loop.steps)
    run = _TrainingRun.begin(task.to(_device(loop)), loop, checkpoints)
    with preserve_global_rng(task.device):
        if task.evaluates_untrained and not run.history:
            run.evaluate()
        for step in islice(task.steps(loop, run.step), max(0, n_steps - run.step)):
            if run.is_over():
                break
            loss = run.take(step)
            due = run.step % loop.evaluate_every == 0 or run.step == n_steps
            evaluation = run.evaluate() if due else None
            rate = task.learning_rate(loop, step.number)
            listener(StepEvent(run.step, n_steps, loss, rate, evaluation))
    return run.end(n_steps)


class _TrainingRun:
    """A run under way: the one mutable thing here."""

    def __init__(self, task: Task, loop: Loop, checkpoints: CheckpointStore) -> None:
        self.task, self.loop, self.checkpoints = task, loop, checkpoints
        self.optimizer = task.optimizer(loop)
        self.scaler = torch.amp.GradScaler(
            task.device.type, enabled=loop.precision == "float16", init_scale=2.0**12
        )
        self.step = 0
        self.history: tuple[Evaluation, ...] = ()
        self.best_step: int | None = None
        self.peak: Evaluation | None = None
        """The earliest evaluation with the highest mean, with its scores per query."""
        self.losses: list[float] = []

    @classmethod
    def begin(cls, task: Task, loop: Loop, checkpoints: CheckpointStore) -> "_TrainingRun":
        """Start a run at its checkpoint, or at step 0."""
        run, state = cls(task, loop, checkpoints), checkpoints.read()
        if state is not None:
            run._restore(state)
        return run

    def _restore(self, state: Mapping[str, Any]) -> None:
        try:
            self.task.load_state_dict(state["task"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            self.step, self.best_step = state["step"], state["best_step"]
            self.history = tuple(Evaluation(**evaluation) for evaluation in state["history"])
            per_query = {name: values.numpy() for name, values in state["per_query"].items()}
        except (KeyError, RuntimeError, TypeError, ValueError) as e:
            raise CheckpointError(
                f"{self.checkpoints.path} has a checkpoint that does not fit this model "
                f"({str(e).splitlines()[0]}); other versions of the libraries wrote it, or it is "
                "damaged: use another folder, or overwrite the run"
            ) from e
        if scored := [evaluation for evaluation in self.history if evaluation.scores]:
            self.peak = replace(max(scored, key=lambda e: e.mean), per_query=per_query)

    def is_over(self) -> bool:
        """Tell whether patience has run out."""
        if self.loop.patience is None or self.peak is None:
            return False
        later = sum(evaluation.step > self.peak.step for evaluation in self.history)
        return later >= self.loop.patience

    def take(self, step: Step) -> float:
        """Do one step and return its loss."""
        if step.starts_epoch:
            with self._evaluation_mode():
                self.task.start_epoch(step.epoch)
        self.task.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.task.learning_rate(self.loop, step.number)
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
        """Add the gradient of one batch of the step, and return its share of the loss."""
        place = (self.loop.seed, "step", step.number, part)
        torch.manual_seed(derive_seed(*place))
        batch = self.task.batch(step, part, generator(*place))
        with self._autocast():
            outputs = self.task(batch)
        loss = self.task.loss(outputs, batch) / self.loop.accumulate
        if not math.isfinite(value := float(loss.detach())):
            self._fail(step, f"loss of its batch {part + 1} of {self.loop.accumulate}", value)
        self.scaler.scale(loss).backward()
        return value

    def _clip(self, step: Step) -> None:
        clip = self.loop.clip or math.inf
        norm = float(nn.utils.clip_grad_norm_(self.task.parameters(), clip))
        # In float16 overflow is ordinary: the scaler skips the step and lowers its scale. Where no
        # scale helps, it would do so for ever.
        ordinary = self.scaler.is_enabled() and self.scaler.get_scale() > _MIN_SCALE
        if not math.isfinite(norm) and not ordinary:
            self._fail(step, "gradient", norm)

    def _fail(self, step: Step, quantity: str, value: float) -> None:
        rows = torch.cat(step.batches) if step.batches else torch.empty(0, dtype=torch.int64)
        path = self.checkpoints.write_failed({**self._state(), "rows": rows})
        saved = (
            ""
            if path is None
            else f" (the parameters before this step and its {len(rows)} rows are in {path})"
        )
        raise NonFiniteLossError(
            f"step {step.number + 1} (epoch {step.epoch + 1}): the {quantity} is {value}{saved}; "
            "look for rows that are not finite, lower the learning rate or lengthen the warm-up"
        )

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = getattr(torch, self.loop.precision)
        enabled = dtype != torch.float32
        context: AbstractContextManager[Any] = torch.autocast(
            self.task.device.type, dtype if enabled else torch.bfloat16, enabled=enabled
        )
        return context

    def _evaluation_mode(self) -> AbstractContextManager[Any]:
        """Switch dropout and gradients off; the next step switches dropout on again."""
        self.task.eval()
        context: AbstractContextManager[Any] = torch.no_grad()
        return context

    def evaluate(self) -> Evaluation:
        """Measure, keep the parameters if they are the best, and write the checkpoint."""
        with self._evaluation_mode():
            scores = self.task.evaluate()
        loss = sum(self.losses) / len(self.losses) if self.losses else math.nan
        latest = Evaluation.from_scores(self.step, loss, scores)
        self.losses = []
        self.history = (*self.history, replace(latest, per_query={}))
        if self.peak is None or self.task.prefers(latest, self.peak):
            self.best_step = self.step
            self.checkpoints.write_best(self.task.state_dict())
        if latest.scores and (self.peak is None or latest.mean > self.peak.mean):
            self.peak = latest
        self.checkpoints.write(self._state())
        return latest

    def _state(self) -> Mapping[str, Any]:
        per_query = {} if self.peak is None else self.peak.per_query
        return {
            "step": self.step,
            "task": self.task.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": [evaluation.to_json() for evaluation in self.history],
            "best_step": self.best_step,
            "per_query": {name: torch.from_numpy(value) for name, value in per_query.items()},
        }

    def end(self, n_steps: int) -> TrainingHistory:
        """Load the best parameters into the task."""
        self.task.load_state_dict(self.checkpoints.read_best())
        self.task.eval()
        best = next(e for e in self.history if e.step == self.best_step)
        return TrainingHistory(best, self.history, self.history[-1].step < n_steps)


def _device(loop: Loop) -> torch.device:
    if loop.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(loop.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        raise InputError(
            f"loop.device={loop.device!r} is not available ({str(e).splitlines()[0]}); "
            "use cpu or auto"
        ) from None
    return device
