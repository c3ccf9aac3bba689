"""What the loop knows of what it trains."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nestvec.shapes import Float, Int64

Scores = dict[str, float]
"""A held-out metric, larger is better, by size; "64", or "16 x 64" where two sizes meet."""


class Task(nn.Module, ABC):
    """A model with its training rows, its loss and its held-out rows.

    All that training changes is in `state_dict()`, so a checkpoint of it is whole.
    """

    rows: int
    """How many rows there are to train on."""
    metric: str
    """What `evaluate` measures."""

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        device: torch.device = next(self.parameters()).device
        return device

    @abstractmethod
    def batch(self, rows: Int64[Tensor, " batch"], draw: torch.Generator) -> Any:
        """These training rows as `forward` takes them; whatever is random is drawn from `draw`."""

    @abstractmethod
    def forward(self, batch: Any) -> Any:
        """The model's outputs. Runs in the precision that was asked for."""

    @abstractmethod
    def loss(self, outputs: Any, batch: Any) -> Float[Tensor, ""]:
        """The nested loss. Runs in float32, whatever the outputs' type."""

    @abstractmethod
    def evaluate(self) -> Scores:
        """The metric on held-out rows at every trained size, none left out."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model for use, into an existing folder."""

    def start_epoch(self, epoch: int) -> None:
        """Called before the first step of each epoch, 0 first. Most tasks have nothing to do."""
