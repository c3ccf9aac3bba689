"""What an engine is to the benchmark: built in one process, opened and searched in another."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from benchmarks.search.dataset import Dataset


class Setting(NamedTuple):
    """One point of the recall-speed curve.

    `choose` puts the setting into force (engines keep it in the index) and is not timed. `one`
    takes a single query [dim] and returns its ids [k] through the engine's fastest public call;
    `batch` takes queries [q, dim] and a number of threads.
    """

    label: str
    choose: Callable[[], None]
    one: Callable[[np.ndarray], np.ndarray]
    batch: Callable[[np.ndarray, int], np.ndarray]
    is_default: bool = False


@dataclass(frozen=True)
class Opened:
    """An index that is ready to be searched, and what it costs to hold it.

    `hot_bytes` is what searching reads at random: without the full vectors where only a shortlist
    of them is read. `held_bytes` is everything, full vectors included.
    """

    settings: Callable[[int], list[Setting]]
    hot_bytes: int
    held_bytes: int


class Engine(ABC):
    """One engine with its build parameters."""

    title: ClassVar[str]
    """As tables name it, with the build parameters: other parameters, another title."""
    package: ClassVar[str]
    """The distribution whose version is recorded."""
    kind: ClassVar[str] = "peer"
    """Which comparison it takes part in: "nestvec", "graph", "cells" or "flat"."""

    def refuses(self, data: Dataset) -> str | None:
        """Why this engine cannot take the data set, or None."""
        return None

    @abstractmethod
    def build(self, data: Dataset, folder: Path, threads: int) -> Any:
        """Build an index that could be searched at once. This is what the build time counts."""

    @abstractmethod
    def save(self, built: Any, data: Dataset, folder: Path) -> None:
        """Write it into `folder`; not timed."""

    @abstractmethod
    def open(self, data: Dataset, folder: Path) -> Opened:
        """Read it back, ready for one thread."""


def do_nothing() -> None:
    """The `choose` of an engine that takes its setting with every call."""


def folder_bytes(folder: Path) -> int:
    """What an index takes on disk."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
