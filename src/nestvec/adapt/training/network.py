"""`Network`: the map under training as a torch module, and its way back to NumPy."""

from collections.abc import Mapping

import numpy as np
import torch

from nestvec.adapt.config import AdaptorConfig
from nestvec.errors import InputError
from nestvec.shapes import Float, Float32
from nestvec.transforms.residual import Map, Residual, ResidualTransform


class Network(torch.nn.Module):
    """The map x · matrix + relu(x · into + bias) · out, and a scale of scores for each of the dims.

    Only the columns up to the widest prefix are trained. An orthogonal matrix is the Q factor of
    the trained one, whose prefixes span the same spaces; the other columns become orthogonal to it
    at the end.
    """

    def __init__(
        self,
        initialization: Float32[np.ndarray, "dim width"],
        nesting_dims: tuple[int, ...],
        config: AdaptorConfig,
        seed: int,
    ) -> None:
        super().__init__()
        dim, trained = len(initialization), nesting_dims[-1]
        self._other_columns = initialization[:, trained:]
        self._orthogonal = config.orthogonal
        self.matrix = torch.nn.Parameter(torch.tensor(initialization[:, :trained]))
        # Scores begin twice as soft as the ranking to keep: a prefix distinguishes less.
        scale = np.full(len(nesting_dims), np.log(0.5 / config.temperature), np.float32)
        self.log_scales = torch.nn.Parameter(torch.tensor(scale))
        self.into = self.bias = self.out = None
        if config.hidden:
            # Entries of a unit row are of size 1/√dim, so the hidden layer begins at size 1.
            normal = np.random.default_rng([seed, 2]).standard_normal((dim, config.hidden))
            self.into = torch.nn.Parameter(torch.tensor(normal.astype(np.float32)))
            self.bias = torch.nn.Parameter(torch.zeros(config.hidden))
            # Zeros: the map begins at its initialization.
            self.out = torch.nn.Parameter(torch.zeros(config.hidden, trained))

    def forward(self, rows: Float[torch.Tensor, "n dim"]) -> Float[torch.Tensor, "n widest"]:
        """Map rows to the columns up to the widest prefix."""
        mapped = rows @ (_q_factor(self.matrix) if self._orthogonal else self.matrix)
        if self.into is not None:
            mapped = mapped + torch.relu(rows @ self.into + self.bias) @ self.out
        return mapped

    def arrays(self) -> dict[str, np.ndarray]:
        """Copy the arrays of the map, at full width."""
        parts = {name: getattr(self, name) for name in ("matrix", "into", "bias", "out")}
        copied = {n: p.detach().cpu().numpy().copy() for n, p in parts.items() if p is not None}
        matrix = np.concatenate([copied["matrix"], self._other_columns], axis=1)
        copied["matrix"] = _orthogonalize(matrix) if self._orthogonal else matrix
        if "out" in copied:
            copied["out"] = np.pad(copied["out"], ((0, 0), (0, self._other_columns.shape[1])))
        return copied


def _q_factor(matrix: Float[torch.Tensor, "dim m"]) -> Float[torch.Tensor, "dim m"]:
    """Compute the Q of the QR decomposition by Cholesky: a few products, where QR takes many."""
    try:
        lower = torch.linalg.cholesky(matrix.T @ matrix)
    except torch.linalg.LinAlgError:
        raise InputError(
            "training made dimensions that are no longer independent; lower learning_rate in the "
            "config, or use another initialization"
        ) from None
    return torch.linalg.solve_triangular(lower, matrix.T, upper=False).T


def _orthogonalize(matrix: Float32[np.ndarray, "dim width"]) -> Float32[np.ndarray, "dim width"]:
    """Compute Q in full precision; each column points to the side of its original."""
    q, r = np.linalg.qr(matrix.astype(np.float64))
    return np.ascontiguousarray(q * np.where(np.diag(r) < 0, -1, 1), dtype=np.float32)


def to_transform(
    arrays: Mapping[str, np.ndarray], nesting_dims: tuple[int, ...]
) -> ResidualTransform:
    """Make the transform of a network's arrays, with one map for both sides."""
    residual = None
    if "into" in arrays:
        residual = Residual(arrays["into"], arrays["bias"], arrays["out"])
    shared = Map(arrays["matrix"], residual)
    return ResidualTransform(shared, shared, nesting_dims)
