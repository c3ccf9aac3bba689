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

    Only the columns up to the widest size are trained; the others stay as they started. An
    orthogonal one is x · matrix · turn, all columns, and only the turn is trained.
    """

    def __init__(
        self,
        start: Float32[np.ndarray, "dim width"],
        sizes: tuple[int, ...],
        recipe: Recipe,
        seed: int,
    ) -> None:
        super().__init__()
        dim, width = start.shape
        self._widest = sizes[-1]
        trained = width if recipe.orthogonal else self._widest
        self._rest = start[:, trained:]
        self.turn = _rotation(width) if recipe.orthogonal else None
        self.matrix = torch.nn.Parameter(
            torch.tensor(start[:, :trained]), requires_grad=not recipe.orthogonal
        )
        # Scores begin twice as soft as the ranking to keep: a prefix tells less apart.
        scale = np.full(len(sizes), np.log(0.5 / recipe.temperature), np.float32)
        self.log_scales = torch.nn.Parameter(torch.tensor(scale))
        self.into = self.bias = self.out = None
        if recipe.hidden:
            # Entries of a unit row are of size 1/√dim: so the hidden layer begins at size 1.
            drawn = np.random.default_rng([seed, 2]).standard_normal((dim, recipe.hidden))
            self.into = torch.nn.Parameter(torch.tensor(drawn.astype(np.float32)))
            self.bias = torch.nn.Parameter(torch.zeros(recipe.hidden))
            # Zero: the map begins at its start.
            self.out = torch.nn.Parameter(torch.zeros(recipe.hidden, trained))

    def forward(self, rows: Float[torch.Tensor, "n dim"]) -> Float[torch.Tensor, "n widest"]:
        """The columns up to the widest size, of the mapped rows."""
        matrix = self.matrix
        if self.turn is not None:
            # Both matrices first, and no column that no size asks for: a third of the work.
            matrix = matrix @ self.turn.weight.T[:, : self._widest]
        mapped = rows @ matrix
        if self.into is not None:
            mapped = mapped + torch.relu(rows @ self.into + self.bias) @ self.out
        return mapped

    def numbers(self) -> dict[str, np.ndarray]:
        """A copy of all that the map is made of."""
        parts = {name: getattr(self, name) for name in ("matrix", "into", "bias", "out")}
        copied = {n: p.detach().cpu().numpy().copy() for n, p in parts.items() if p is not None}
        if self.turn is not None:
            turn = self.turn.weight.detach().cpu().numpy().T
            copied["matrix"] = _product(copied["matrix"], turn)
        copied["matrix"] = np.concatenate([copied["matrix"], self._rest], axis=1)
        if "out" in copied:
            copied["out"] = np.pad(copied["out"], ((0, 0), (0, self._rest.shape[1])))
        return copied


def _rotation(dim: int) -> torch.nn.Linear:
    """A layer whose weight is the Cayley transform of its parameters, at first the identity."""
    layer = torch.nn.Linear(dim, dim, bias=False)
    orthogonal(layer, orthogonal_map="cayley", use_trivialization=True)
    # With the trivialisation the weight that is set becomes the base, and the parameters zero.
    layer.weight = torch.eye(dim)
    return layer


def _product(
    matrix: Float32[np.ndarray, "dim width"], turn: Float32[np.ndarray, "width width"]
) -> Float32[np.ndarray, "dim width"]:
    """The matrix times the orthogonal one nearest to what float32 left of a rotation."""
    left, _, right = np.linalg.svd(turn.astype(np.float64))
    return np.ascontiguousarray(matrix @ (left @ right), dtype=np.float32)


def as_adaptor(numbers: Mapping[str, np.ndarray], sizes: tuple[int, ...]) -> MatryoshkaAdaptor:
    """The adaptor of a network's numbers."""
    residual = None
    if "into" in numbers:
        residual = Residual(numbers["into"], numbers["bias"], numbers["out"])
    mapped = Map(numbers["matrix"], residual)
    return MatryoshkaAdaptor(mapped, mapped, sizes)
