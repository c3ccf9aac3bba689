"""The loop: batches, one loss for all sizes, looks at held-out queries, checkpoints."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from nestvec.adapt.config import Recipe
from nestvec.adapt.evaluation import PerQuery
from nestvec.adapt.matryoshka_adaptor import MatryoshkaAdaptor
from nestvec.adapt.training import losses
from nestvec.adapt.training.batches import Batch, Batches
from nestvec.adapt.training.checkpoint import Checkpoint
from nestvec.adapt.training.network import Network, as_adaptor
from nestvec.adapt.training_data import Material
from nestvec.progress import Progress
from nestvec.shapes import Float, Float32

_LOOKS = 10
_WARM_UP = 20
"""Steps in which the learning rate rises."""

Watch = Callable[[MatryoshkaAdaptor], PerQuery]
"""The quality of each query that early stopping goes by."""
Told = Callable[[int, float], None]


@dataclass(frozen=True)
class Task:
    """What to train, from where, and for how long."""

    material: Material
    start: Float32[np.ndarray, "dim width"]
    teachers: tuple[Float32[np.ndarray, "dim dim"], ...]
    """Maps whose full-width cosines are to be kept, on average."""
    sizes: tuple[int, ...]
    recipe: Recipe
    seed: int
    until: int
    """Stop after this step of the recipe's; the learning rate falls as if it went on."""


@dataclass(frozen=True)
class Trained:
    """The best adaptor, after which step it was that, and what was seen on the way."""

    adaptor: MatryoshkaAdaptor
    step: int
    history: tuple[tuple[int, float], ...] = field(default=())


def train(
    task: Task, watch: Watch | None, checkpoint: Path | None, told: Told, progress: Progress
) -> Trained:
    """Train, and go back from looks that `watch` finds worse; without it to the end."""
    run = _Run(task, Checkpoint(checkpoint, task))
    every = max(1, task.recipe.steps // _LOOKS)
    with progress("Training", task.until) as advance:
        advance(run.state.step)
        if not run.state.best:
            run.look(watch)  # where it starts may be the best place already
        while run.state.step < task.until and not run.exhausted:
            run.step()
            advance(1)
            if run.state.step % every == 0 or run.state.step == task.until:
                run.look(watch)
                if run.state.history:
                    told(*run.state.history[-1])
    state = run.state
    return Trained(as_adaptor(state.best, task.sizes), state.best_step, state.history)


class _Run:
    """A training that is under way."""

    def __init__(self, task: Task, checkpoint: Checkpoint) -> None:
        self._task, self._checkpoint = task, checkpoint
        recipe = task.recipe
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network = Network(task.start, task.sizes, recipe, task.seed).to(device)
        self._start = torch.tensor(task.start, device=device)
        self._optimizer = torch.optim.Adam(
            [p for p in self._network.parameters() if p.requires_grad], recipe.learning_rate
        )
        self._batches = Batches(task.material, task.teachers, recipe, task.seed, device)
        self.state = checkpoint.restore(self._network, self._optimizer)

    @property
    def exhausted(self) -> bool:
        """Whether enough looks in a row have shown nothing better."""
        return self.state.looks_since_peak >= self._task.recipe.patience

    def step(self) -> None:
        """One batch."""
        step, recipe = self.state.step, self._task.recipe
        warm = min(1.0, (step + 1) / _WARM_UP)
        fall = (1 + math.cos(math.pi * step / recipe.steps)) / 2
        for group in self._optimizer.param_groups:
            group["lr"] = recipe.learning_rate * warm * fall
        loss = self._loss(self._batches.draw(step))
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self.state = self.state.after_step()

    def look(self, watch: Watch | None) -> None:
        """Ask the held-out queries, and leave a checkpoint."""
        numbers = self._network.numbers()
        graded = None if watch is None else watch(as_adaptor(numbers, self._task.sizes))
        self.state = self.state.after_look(numbers, graded)
        self._checkpoint.save(self._network, self._optimizer, self.state)

    def _loss(self, batch: Batch) -> Float[torch.Tensor, ""]:
        """The recipe's losses, summed over all sizes."""
        recipe = self._task.recipe
        full = batch.full
        target = _target(batch, full, recipe)
        mapped = self._network(batch.queries), self._network(batch.documents)
        total = full.new_zeros(())
        scales = self._network.log_scales.exp()
        nested = losses.nested_scores(*mapped, self._task.sizes)
        for scale, scores in zip(scales, nested, strict=True):
            if recipe.distillation:
                kept = losses.distillation(scores, target, batch.mask, scale)
                total = total + recipe.distillation * kept
            if recipe.pairwise:
                total = total + recipe.pairwise * losses.pairwise(scores, full, batch.mask)
            if recipe.topk:
                near = losses.topk(scores, full, batch.mask, recipe.neighbours)
                total = total + recipe.topk * near
            if recipe.ranking:
                total = total + recipe.ranking * losses.ranking(scores, batch.grades, batch.mask)
        if recipe.reconstruction:
            for rows, moved in zip((batch.queries, batch.documents), mapped, strict=True):
                away = losses.reconstruction(moved, (rows @ self._start)[:, : moved.shape[1]])
                total = total + recipe.reconstruction * away
        return total


def _target(
    batch: Batch, full: Float[torch.Tensor, "q n"], recipe: Recipe
) -> Float[torch.Tensor, "q n"]:
    """What each query is to find: the full-width ranking, mixed with its judgements if any."""
    ranking = losses.ranking_to_keep(full, batch.mask, recipe.temperature)
    sums = batch.grades.sum(dim=1, keepdim=True)
    share = torch.where(sums > 0, recipe.labels, 0.0)
    return (1 - share) * ranking + share * batch.grades / sums.clamp(min=1e-9)
