"""A run's folder: the checkpoint to go on from, the best parameters, the finished model.

    checkpoint.pt   all that the next step depends on; replaced in one move, so never half written
    best.pt         the parameters of the best evaluation so far
    failed.pt       the state in which a loss was not finite
    model/          the best model, for use
    logs/           for TensorBoard, where they are kept

All three `.pt` files are read without unpickling objects (`weights_only`).
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nestvec.errors import CheckpointError, InputError

FORMAT = 1
_FILES = ("checkpoint.pt", "best.pt", "failed.pt")
_NAMES = (*_FILES, *(f"{name}.part" for name in _FILES), "model", "logs")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run, which is of one configuration, and of one only.

    `identity` says what is trained on what and how. Raises `CheckpointError` on reading a
    checkpoint with another one.
    """

    path: Path
    identity: Mapping[str, Any]

    @classmethod
    def of(cls, path: Path, recipe: str, config: Any, data: str) -> "RunFolder":
        """The folder for a recipe with a configuration (a dataclass) on data of this digest."""
        identity = {"recipe": recipe, **asdict(config), "data": data}
        return cls(Path(path), dict(_flat(identity)))

    def read(self) -> dict[str, Any] | None:
        """The last checkpoint; None where there is none."""
        path = self.path / "checkpoint.pt"
        self._check_own()
        if not path.exists():
            return None
        state = self._load(path)
        self._check(state)
        return state

    def write(self, state: Mapping[str, Any], name: str = "checkpoint.pt") -> Path:
        """Write a checkpoint; whoever is stopped in the middle keeps the one before."""
        self.path.mkdir(parents=True, exist_ok=True)
        path = self.path / name
        part = path.with_name(f"{name}.part")
        with part.open("wb") as file:
            torch.save({"format": FORMAT, "identity": dict(self.identity), **state}, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        return path

    def read_best(self) -> dict[str, Any]:
        """The parameters of the best evaluation."""
        state: dict[str, Any] = self._load(self.path / "best.pt")["task"]
        return state

    def clear(self) -> None:
        """Remove the run that is here."""
        self._check_own()
        for name in _NAMES:
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _check_own(self) -> None:
        """Nobody else's files are mixed with a run's, or removed with them."""
        if not self.path.exists():
            return
        foreign = sorted({path.name for path in self.path.iterdir()} - set(_NAMES))
        if foreign:
            raise InputError(
                f"{self.path} holds {foreign[0]!r}, which is no run's; use a new folder"
            )

    def _load(self, path: Path) -> dict[str, Any]:
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as e:
            # torch raises whatever its parsers of damaged bytes raise.
            raise CheckpointError(
                f"{path} is missing or damaged ({type(e).__name__}); "
                "remove the folder and train again"
            ) from e
        if not isinstance(state, dict) or not {"format", "identity"} <= state.keys():
            raise CheckpointError(f"{path} is no checkpoint of a run; remove it and train again")
        return state

    def _check(self, state: Mapping[str, Any]) -> None:
        if state["format"] != FORMAT:
            raise CheckpointError(
                f"{self.path} has a checkpoint of format {state['format']}, this is for "
                f"{FORMAT}; use the nestvec that wrote it, or another folder"
            )
        there, here = state["identity"], self.identity
        other = [name for name in {**there, **here} if there.get(name) != here.get(name)]
        if other:
            told = "; ".join(f"{n} {there.get(n)!r} there, {here.get(n)!r} here" for n in other[:4])
            raise CheckpointError(
                f"{self.path} has a checkpoint of another configuration ({told}); choose another "
                "folder, or overwrite the run"
            )


def digest(*parts: np.ndarray | tuple[str, ...] | None) -> str:
    """A short hash of data: equal for equal arrays and texts."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(repr((part.shape, part.dtype.str)).encode())
            total.update(np.ascontiguousarray(part).data)
        else:
            total.update(repr(part).encode())
    return total.hexdigest()[:16]


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`loop.steps` and the like, with values that a checkpoint can hold and compare."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, list(value) if isinstance(value, tuple) else value
