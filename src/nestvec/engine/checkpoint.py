"""Checkpoints: the folder of a run, or a single file, from which training resumes exactly.

    checkpoint.pt   all that the next step depends on; replaced in one move, so never half written
    best.pt         the parameters of the best evaluation so far
    failed.pt       the state in which a loss was not finite
    model/          the best model, for use
    logs/           for TensorBoard, if the run writes them

All `.pt` files are read without unpickling objects (`weights_only`).
"""

import copy
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from nestvec.deprecation import field_names_before
from nestvec.errors import CheckpointError, InputError

FORMAT = 2
"""2 holds which evaluation is the best; 1 left it to the highest mean."""
_FILES = ("checkpoint.pt", "best.pt", "failed.pt")
_NAMES = (*_FILES, *(f"{name}.part" for name in _FILES), "model", "logs")

State = Mapping[str, Any]


@runtime_checkable
class CheckpointStore(Protocol):
    """The place of a run's checkpoint and of the parameters of its best evaluation."""

    @property
    def path(self) -> Path | None:
        """The folder or file; None where nothing is written."""

    def read(self) -> State | None:
        """Read the last checkpoint; None where there is none.

        Raises `CheckpointError` for a damaged one, and for one of another identity.
        """

    def write(self, state: State) -> None:
        """Replace the checkpoint in one move: whoever is stopped keeps the one before."""

    def read_best(self) -> dict[str, Any]:
        """Read the parameters that were last written as the best."""

    def write_best(self, parameters: State) -> None:
        """Keep the parameters of the best evaluation so far."""

    def write_failed(self, state: State) -> Path | None:
        """Keep the state in which a loss was not finite, where there is room for it."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run of one configuration.

    `identity` says what is trained on what data with which settings. `renamed` maps the names that
    settings had in checkpoints of format 1 to those of today.
    """

    path: Path
    identity: Mapping[str, Any]
    renamed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def for_run(cls, path: Path, recipe: str, config: Any, data: str) -> "RunFolder":
        """Make the folder of a recipe with a configuration (a dataclass) and fingerprinted data."""
        identity = {"recipe": recipe, **asdict(config), "data": data}
        return cls(Path(path), dict(_flat(identity)), dict(_renamed(config)))

    def read(self) -> State | None:
        """Read the last checkpoint; None where there is none."""
        path = self.path / "checkpoint.pt"
        self._check_only_run_files()
        if not path.exists():
            return None
        return _read_checkpoint(path, self.identity, self.renamed, self.path)

    def write(self, state: State) -> None:
        """Replace the checkpoint."""
        self._write(state, "checkpoint.pt")

    def read_best(self) -> dict[str, Any]:
        """Read the parameters of the best evaluation."""
        parameters: dict[str, Any] = _load(self.path / "best.pt", self.path)["task"]
        return parameters

    def write_best(self, parameters: State) -> None:
        """Replace the parameters of the best evaluation."""
        self._write({"task": parameters}, "best.pt")

    def write_failed(self, state: State) -> Path | None:
        """Write the state in which a loss was not finite."""
        return self._write(state, "failed.pt")

    def clear(self) -> None:
        """Remove the run in this folder; `InputError` where other files are in it."""
        self._check_only_run_files()
        for name in _NAMES:
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _write(self, state: State, name: str) -> Path:
        self.path.mkdir(parents=True, exist_ok=True)
        path = self.path / name
        _write_checkpoint(path, state, self.identity)
        return path

    def _check_only_run_files(self) -> None:
        """Refuse a folder with files of others: a run neither mixes with them nor removes them."""
        if not self.path.exists():
            return
        foreign = sorted({path.name for path in self.path.iterdir()} - set(_NAMES))
        if foreign:
            raise InputError(
                f"{self.path} holds {foreign[0]!r}, which no training run writes; use a new folder"
            )


class CheckpointFile:
    """A checkpoint and the best parameters in a single file; in memory where `path` is None."""

    def __init__(self, path: Path | None, identity: Mapping[str, Any]) -> None:
        self.path, self.identity = path, dict(_flat(identity))
        self._best: dict[str, Any] = {}

    def read(self) -> State | None:
        """Read the checkpoint and the best parameters in it; None where there is no file."""
        if self.path is None or not self.path.exists():
            return None
        state = _read_checkpoint(self.path, self.identity, {}, self.path)
        self._best = state["best"]
        return state

    def write(self, state: State) -> None:
        """Replace the file."""
        if self.path is not None:
            _write_checkpoint(self.path, {**state, "best": self._best}, self.identity)

    def read_best(self) -> dict[str, Any]:
        """Give the parameters of the best evaluation."""
        return self._best

    def write_best(self, parameters: State) -> None:
        """Copy the parameters; `write` puts them into the file."""
        self._best = copy.deepcopy(dict(parameters))

    def write_failed(self, state: State) -> Path | None:
        """Keep nothing: training from the checkpoint repeats the failure."""
        return None

    def remove(self) -> None:
        """Remove the file, once what was trained is safe elsewhere."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _write_checkpoint(path: Path, state: State, identity: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    with partial.open("wb") as file:
        torch.save({"format": FORMAT, "identity": dict(identity), **state}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _read_checkpoint(
    path: Path, identity: Mapping[str, Any], renamed: Mapping[str, str], run: Path
) -> dict[str, Any]:
    """Read a checkpoint; errors name `run`, the folder or file that holds no more than the run."""
    state = _load(path, run)
    if state["format"] not in (1, FORMAT):
        raise CheckpointError(
            f"{path} has checkpoint format {state['format']} and this nestvec reads up to "
            f"{FORMAT}; use the nestvec that wrote it, or another folder"
        )
    if state["format"] == 1:
        state = _from_format_1(state, renamed)
    recorded = state["identity"]
    changed = [n for n in {**recorded, **identity} if recorded.get(n) != identity.get(n)]
    if changed:
        differences = "; ".join(
            f"{name} is {identity.get(name)!r} and was {recorded.get(name)!r}"
            for name in changed[:4]
        )
        raise CheckpointError(
            f"{path} is the checkpoint of another configuration ({differences}); use another "
            "folder, or overwrite the run"
        )
    return state


def _load(path: Path, run: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:
        # torch raises whatever its parsers of damaged bytes raise.
        raise CheckpointError(
            f"{path} is missing or damaged ({type(e).__name__}); remove {run} and train again"
        ) from e
    if not isinstance(state, dict) or not {"format", "identity"} <= state.keys():
        raise CheckpointError(f"{path} is no checkpoint of a run; remove it and train again")
    return state


def _from_format_1(state: dict[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """Upgrade a checkpoint of format 1, whose best evaluation is the one with the highest mean."""
    identity = {_new_name(name, renamed): value for name, value in state["identity"].items()}
    history = state.get("history", [])
    means = [sum(e["scores"].values()) / len(e["scores"]) for e in history]
    best_step = history[means.index(max(means))]["step"] if history else None
    return {**state, "identity": identity, "best_step": best_step, "per_query": {}}


def _renamed(config: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the old and the new name of each setting that was renamed, tables within tables too."""
    for old, new in field_names_before(type(config)).items():
        yield prefix + old, prefix + new
    for part in fields(config):
        if is_dataclass(getattr(config, part.name)):
            yield from _renamed(getattr(config, part.name), f"{prefix}{part.name}.")


def _new_name(name: str, renamed: Mapping[str, str]) -> str:
    """Rename a setting, or the table that it is in: `left` renames `left.hidden` too."""
    for old, new in renamed.items():
        if name == old or name.startswith(f"{old}."):
            return new + name[len(old) :]
    return name


def fingerprint(*parts: np.ndarray | tuple[str, ...] | None) -> str:
    """Hash data: equal for equal arrays and texts (the first 16 hexadecimal digits of SHA-256)."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(repr((part.shape, part.dtype.str)).encode())
            total.update(np.ascontiguousarray(part).data)
        else:
            total.update(repr(part).encode())
    return total.hexdigest()[:16]


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield `loop.steps` and the like, with values that a checkpoint can hold and compare."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, list(value) if isinstance(value, tuple) else value
