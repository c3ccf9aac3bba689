"""The map that is trained, as a torch module, from and to its NumPy form."""

from collections.abc import Mapping

import numpy as np
import torch

from nestvec.adapt.config import Recipe
from nestvec.adapt.matryoshka_adaptor import Map, MatryoshkaAdaptor, Residual
from nestvec.errors import InputError
from nestvec.shapes import Float, Float32


class Network(torch.nn.Module):
    """x · matrix + relu(x · into + bias) · out, and one scale of scores for each size.

    Only the columns up to the widest size are trained; the others stay as they started. An
    orthogonal matrix is the Q of what is trained, so that its prefixes span what the same columns
    of that span; the other columns are then made orthogonal to it.
    """

    def __init__(
        self,
        start: Float32[np.ndarray, "dim width"],
        sizes: tuple[int, ...],
        recipe: Recipe,
        seed: int,
    ) -> None:
        super().__init__()
        dim, trained = len(start), sizes[-1]
        self._rest, self._orthogonal = start[:, trained:], recipe.orthogonal
        self.matrix = torch.nn.Parameter(torch.tensor(start[:, :trained]))
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
        mapped = rows @ (_q(self.matrix) if self._orthogonal else self.matrix)
        if self.into is not None:
            mapped = mapped + torch.relu(rows @ self.into + self.bias) @ self.out
        return mapped

    def numbers(self) -> dict[str, np.ndarray]:
        """A copy of all that the map is made of."""
        parts = {name: getattr(self, name) for name in ("matrix", "into", "bias", "out")}
        copied = {n: p.detach().cpu().numpy().copy() for n, p in parts.items() if p is not None}
        whole = np.concatenate([copied["matrix"], self._rest], axis=1)
        copied["matrix"] = _orthogonal(whole) if self._orthogonal else whole
        if "out" in copied:
            copied["out"] = np.pad(copied["out"], ((0, 0), (0, self._rest.shape[1])))
        return copied


def _q(matrix: Float[torch.Tensor, "dim m"]) -> Float[torch.Tensor, "dim m"]:
    """The Q of its QR decomposition, by Cholesky: a few products, where QR itself takes many."""
    try:
        lower = torch.linalg.cholesky(matrix.T @ matrix)
    except torch.linalg.LinAlgError:
        raise InputError(
            "training made dimensions that are no longer independent; lower the recipe's "
            "learning_rate, or start from other vectors"
        ) from None
    return torch.linalg.solve_triangular(lower, matrix.T, upper=False).T


def _orthogonal(matrix: Float32[np.ndarray, "dim width"]) -> Float32[np.ndarray, "dim width"]:
    """The same in full precision, each column on the side of the one that it is made of."""
    q, r = np.linalg.qr(matrix.astype(np.float64))
    return np.ascontiguousarray(q * np.where(np.diag(r) < 0, -1, 1), dtype=np.float32)


def as_adaptor(numbers: Mapping[str, np.ndarray], sizes: tuple[int, ...]) -> MatryoshkaAdaptor:
    """The adaptor of a network's numbers."""
    residual = None
    if "into" in numbers:
        residual = Residual(numbers["into"], numbers["bias"], numbers["out"])
    mapped = Map(numbers["matrix"], residual)
    return MatryoshkaAdaptor(mapped, mapped, sizes)
