"""A training on disk, so that one that was stopped goes on as if it never had been."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nestvec.adapt.evaluation import PerQuery
from nestvec.errors import DataError
from nestvec.transforms.files import read_file, write_file

Numbers = dict[str, np.ndarray]
_ONE_IN_20 = 1.645
"""Standard errors."""


@dataclass(frozen=True)
class State:
    """How far a training is, and the best that it has seen."""

    step: int = 0
    best: Numbers = field(default_factory=dict)
    best_step: int = 0
    peak: PerQuery | None = None
    """What the look with the highest mean saw of each query; None while nobody looks."""
    history: tuple[tuple[int, float], ...] = ()

    @property
    def looks_since_peak(self) -> int:
        """How many looks in a row have seen no higher mean."""
        means = [mean for _, mean in self.history]
        return len(means) - 1 - means.index(max(means)) if means else 0

    def after_step(self) -> "State":
        """One step on."""
        return replace(self, step=self.step + 1)

    def after_look(self, numbers: Numbers, graded: PerQuery | None) -> "State":
        """With what a look saw. The latest is the best, unless it is surely below the peak.

        The highest mean of ten looks at a few queries is mostly luck, and its step too early.
        """
        latest = replace(self, best=numbers, best_step=self.step)
        if graded is None:
            return latest
        history = (*self.history, (self.step, float(graded.mean())))
        if self.peak is None or graded.mean() > self.peak.mean():
            return replace(latest, history=history, peak=graded)
        return replace(self if surely_below(graded, self.peak) else latest, history=history)


def surely_below(graded: PerQuery, peak: PerQuery) -> bool:
    """Whether the mean difference, paired by query, lies so far below 0 as one in 20 by chance."""
    away = graded - peak
    return bool(away.mean() < -_ONE_IN_20 * away.std(ddof=1) / len(away) ** 0.5)


@dataclass(frozen=True)
class Checkpoint:
    """The file of a training, if it is to have one. Only the very same work goes on with it."""

    path: Path | None
    task: Any

    def save(self, network: torch.nn.Module, optimizer: torch.optim.Adam, state: State) -> None:
        """Write parameters, moments and state in one step."""
        if self.path is None:
            return
        arrays = {f"best.{name}": array for name, array in state.best.items()}
        for name, parameter in network.named_parameters():
            # A parameter that no loss depends on has no moments.
            moments = optimizer.state.get(parameter, {})
            none = torch.zeros_like(parameter)
            arrays[f"now.{name}"] = parameter.detach().cpu().numpy()
            arrays[f"first.{name}"] = moments.get("exp_avg", none).detach().cpu().numpy()
            arrays[f"second.{name}"] = moments.get("exp_avg_sq", none).detach().cpu().numpy()
        if state.peak is not None:
            arrays["peak"] = state.peak
        told = {"step": state.step, "best_step": state.best_step, "history": state.history}
        write_file(self.path, arrays, {"work": self._work(), "state": told})

    def restore(self, network: torch.nn.Module, optimizer: torch.optim.Adam) -> State:
        """Bring both to where the file left off; a fresh state where there is no file."""
        if self.path is None or not self.path.exists():
            return State()
        arrays, header = read_file(self.path)
        if header.get("work") != self._work():
            raise DataError(
                f"'{self.path}' was begun with other vectors, options or seed; give what it was "
                "begun with, or remove it to start again"
            )
        try:
            return _put_back(arrays, header["state"], network, optimizer)
        except KeyError as e:
            raise DataError(
                f"'{self.path}' is damaged: it lacks {e}; remove it to start again"
            ) from e

    def _work(self) -> str:
        """SHA-256 of all that decides how the training goes."""
        task = self.task
        told = [asdict(task.recipe), list(task.sizes), task.seed, task.until]
        digest = hashlib.sha256(json.dumps(told).encode())
        digest.update(task.material.digest().encode())
        digest.update(task.start.tobytes())
        return digest.hexdigest()


def _put_back(
    arrays: Numbers,
    told: Mapping[str, Any],
    network: torch.nn.Module,
    optimizer: torch.optim.Adam,
) -> State:
    for name, parameter in network.named_parameters():
        now, first, second = (
            torch.from_numpy(arrays[f"{part}.{name}"]).to(parameter.device)
            for part in ("now", "first", "second")
        )
        parameter.data.copy_(now)
        optimizer.state[parameter] = {
            "step": torch.tensor(float(told["step"])),
            "exp_avg": first,
            "exp_avg_sq": second,
        }
    best = {n.removeprefix("best."): a for n, a in arrays.items() if n.startswith("best.")}
    history = tuple((int(step), float(seen)) for step, seen in told["history"])
    return State(told["step"], best, told["best_step"], arrays.get("peak"), history)
