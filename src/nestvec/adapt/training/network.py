"""The map that is trained, as a torch module, from and to its NumPy form."""

from collections.abc import Mapping

import numpy as np
import torch

from nestvec.adapt.adaptor import Map, MatryoshkaAdaptor, Residual
from nestvec.adapt.recipe import Recipe
from nestvec.shapes import Float, Float32


class Network(torch.nn.Module):
    """x · matrix + relu(x · into + bias) · out, and one scale of scores for each size."""

    def __init__(
        self, start: Float32[np.ndarray, "dim width"], sizes: int, recipe: Recipe, seed: int
    ) -> None:
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.tensor(start))
        scale = np.full(sizes, np.log(1 / recipe.temperature), np.float32)
        self.log_scales = torch.nn.Parameter(torch.tensor(scale))
        self.into = self.bias = self.out = None
        if recipe.hidden:
            dim, width = start.shape
            # Entries of a unit row are of size 1/√dim: so the hidden layer begins at size 1.
            drawn = np.random.default_rng([seed, 2]).standard_normal((dim, recipe.hidden))
            self.into = torch.nn.Parameter(torch.tensor(drawn.astype(np.float32)))
            self.bias = torch.nn.Parameter(torch.zeros(recipe.hidden))
            # Zero: the map begins at its start.
            self.out = torch.nn.Parameter(torch.zeros(recipe.hidden, width))

    def forward(self, rows: Float[torch.Tensor, "n dim"]) -> Float[torch.Tensor, "n width"]:
        """The mapped rows."""
        mapped = rows @ self.matrix
        if self.into is not None:
            mapped = mapped + torch.relu(rows @ self.into + self.bias) @ self.out
        return mapped

    def numbers(self) -> dict[str, np.ndarray]:
        """A copy of all parameters."""
        return {name: p.detach().cpu().numpy().copy() for name, p in self.named_parameters()}


def as_adaptor(numbers: Mapping[str, np.ndarray], sizes: tuple[int, ...]) -> MatryoshkaAdaptor:
    """The adaptor of a network's parameters."""
    residual = None
    if "into" in numbers:
        residual = Residual(numbers["into"], numbers["bias"], numbers["out"])
    mapped = Map(numbers["matrix"], residual)
    return MatryoshkaAdaptor(mapped, mapped, sizes)
