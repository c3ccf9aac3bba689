"""The map that is trained, as a torch module, from and to its NumPy form."""

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn.utils.parametrizations import orthogonal

from nestvec.adapt.adaptor import Map, MatryoshkaAdaptor, Residual
from nestvec.adapt.recipe import Recipe
from nestvec.shapes import Float, Float32


class Network(torch.nn.Module):
    """x · matrix + relu(x · into + bias) · out, and one scale of scores for each size.

    An orthogonal one is x · matrix · turn, and only the turn is learned.
    """

    def __init__(
        self, start: Float32[np.ndarray, "dim width"], sizes: int, recipe: Recipe, seed: int
    ) -> None:
        super().__init__()
        self.turn = _rotation(start.shape[1]) if recipe.orthogonal else None
        self.matrix = torch.nn.Parameter(torch.tensor(start), requires_grad=not recipe.orthogonal)
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
        if self.turn is not None:
            mapped = self.turn(mapped)
        if self.into is not None:
            mapped = mapped + torch.relu(rows @ self.into + self.bias) @ self.out
        return mapped

    def numbers(self) -> dict[str, np.ndarray]:
        """A copy of all that the map is made of."""
        names = ("matrix", "into", "bias", "out")
        parts = {name: getattr(self, name) for name in names}
        copied = {n: p.detach().cpu().numpy().copy() for n, p in parts.items() if p is not None}
        if self.turn is not None:
            turn = self.turn.weight.detach().cpu().numpy().T
            copied["matrix"] = _product(copied["matrix"], turn)
        return copied


def _rotation(dim: int) -> torch.nn.Linear:
    """A layer whose weight is the Cayley transform of its parameters, at first the identity."""
    layer = torch.nn.Linear(dim, dim, bias=False)
    orthogonal(layer, orthogonal_map="cayley", use_trivialization=True)
    # With the trivialisation the weight that is set becomes the base, and the parameters zero.
    layer.weight = torch.eye(dim)
    return layer


def _product(matrix: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """The matrix times the orthogonal one nearest to what float32 left of a rotation."""
    left, _, right = np.linalg.svd(turn.astype(np.float64))
    return np.ascontiguousarray(matrix @ (left @ right), dtype=np.float32)


def as_adaptor(numbers: Mapping[str, np.ndarray], sizes: tuple[int, ...]) -> MatryoshkaAdaptor:
    """The adaptor of a network's parameters."""
    residual = None
    if "into" in numbers:
        residual = Residual(numbers["into"], numbers["bias"], numbers["out"])
    mapped = Map(numbers["matrix"], residual)
    return MatryoshkaAdaptor(mapped, mapped, sizes)
