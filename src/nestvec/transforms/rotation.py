"""Orthogonal maps: full-width inner products stay, energy moves to the front."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import VectorsError
from nestvec.progress import Progress, silent
from nestvec.shapes import Float, Float32, Float64
from nestvec.transforms.base import Adapter, Affine, Arrays, Facts, Side, check_sizes
from nestvec.vectors import BLOCK_ROWS, check_finite, check_magnitude, check_vectors


def second_moment(
    blocks: Iterator[Float32[np.ndarray, "n dim"]], dim: int
) -> Float64[np.ndarray, "dim dim"]:
    """The sum of xᵀx over all rows of all blocks: products in float32, blocks added in float64."""
    total = np.zeros((dim, dim))
    for block in blocks:
        total += block.T @ block
    return total


@dataclass(frozen=True, eq=False)
class Rotation(Adapter):
    """An orthogonal map of vectors; column j of `matrix` is the direction of new dimension j.

    Queries and documents are rotated alike: inner products at full width stay what they were.
    """

    kind: ClassVar[str] = "rotation"
    matrix: Float32[np.ndarray, "dim dim"]

    @classmethod
    def fit(cls, vectors: ArrayLike) -> "Rotation":
        """The principal directions of the vectors about the origin, strongest first.

        Not centred, so that inner products stay what they were (up to float32 rounding). Rows are
        read in blocks: a memory map larger than memory is fine.
        """
        array = check_vectors(vectors)
        if len(array) == 0:
            raise VectorsError("vectors have no rows; a rotation needs at least one")
        return cls.from_second_moment(second_moment(float32_blocks(array), array.shape[1]))

    @classmethod
    def learn(
        cls,
        vectors: ArrayLike,
        dims: Sequence[int],
        *,
        seed: int = 0,
        progress: Progress = silent,
    ) -> "Rotation":
        """The rotation whose prefixes of `dims` rank most as full width does.

        Starts at `fit` and follows the gradient of the distillation loss over orthogonal matrices:
        what is kept is the ranking by the vectors' own cosines and by those after the neighbour
        whitening, half each (docs/how-to/adapting.md). Needs the extra `train`.
        """
        from nestvec.adapt.training_data import Material, check_rank
        from nestvec.extras import require

        require("torch", "train")
        from nestvec.adapt.config import Recipe
        from nestvec.adapt.initialization import teachers
        from nestvec.adapt.training.loop import Task, train

        material, recipe = Material.read(vectors, seed=seed), Recipe(teacher="both")
        sizes = check_sizes(dims, material.dim)
        check_rank(material.documents, sizes)
        start, taught_by = cls.fit(material.documents).matrix, teachers(material, recipe, seed)
        task = Task(material, start, taught_by, sizes, recipe, seed, recipe.steps)
        return cls(
            train(task, None, None, lambda step, value: None, progress).adaptor.documents.matrix
        )

    @classmethod
    def from_second_moment(cls, moment: Float64[np.ndarray, "dim dim"]) -> "Rotation":
        """Eigenvectors by falling eigenvalue, each with its largest entry positive."""
        _, directions = np.linalg.eigh(moment)
        directions = directions[:, ::-1]
        largest = np.abs(directions).argmax(axis=0)
        signs = np.sign(directions[largest, np.arange(len(largest))])
        return cls(np.ascontiguousarray(directions * signs, dtype=np.float32))

    @classmethod
    def random(cls, dim: int, seed: int = 0) -> "Rotation":
        """A rotation drawn uniformly: the control that every other has to beat."""
        drawn = np.random.default_rng(seed).standard_normal((dim, dim))
        q, r = np.linalg.qr(drawn)
        # Without the signs the factor of a normal matrix is not uniform (Mezzadri, 2007).
        return cls(np.ascontiguousarray(q * np.sign(np.diag(r)), dtype=np.float32))

    @classmethod
    def identity(cls, dim: int) -> "Rotation":
        """The map that changes nothing: a model trained nested keeps its own order."""
        return cls(np.eye(dim, dtype=np.float32))

    @property
    def dim(self) -> int:
        """Width of the vectors it takes."""
        return len(self.matrix)

    @property
    def lossless(self) -> bool:
        """Inner products at full width are kept."""
        return True

    def apply(
        self, rows: Float32[np.ndarray, "n dim"], dims: int, side: Side
    ) -> Float32[np.ndarray, "n dims"]:
        """The first `dims` rotated dimensions, of either side."""
        return np.asarray(rows @ self.matrix[:, :dims])

    def affine(self, side: Side = "documents") -> Affine | None:
        """The matrix, and no offset."""
        return Affine(self.matrix, np.zeros(self.dim, np.float32))

    def arrays(self) -> Arrays:
        """The matrix."""
        return {"matrix": self.matrix}

    def facts(self) -> Facts:
        """None."""
        return {}

    @classmethod
    def restore(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "Rotation":
        """The rotation; `ValueError` unless its matrix is orthogonal."""
        if not is_orthogonal(arrays["matrix"]):
            raise ValueError("its matrix is not orthogonal")
        return cls(arrays["matrix"])


def is_orthogonal(matrix: Float32[np.ndarray, "dim width"]) -> bool:
    """Whether inner products are kept, as far as float32 can say of a matrix."""
    wide = matrix.astype(np.float64)
    if wide.shape != (len(wide), len(wide)):
        return False
    return bool(np.abs(wide.T @ wide - np.eye(len(wide))).max() < len(wide) * 2.0**-22)


def float32_blocks(array: Float[np.ndarray, "n dim"]) -> Iterator[Float32[np.ndarray, "m dim"]]:
    """The rows, checked, a block at a time."""
    for first in range(0, len(array), BLOCK_ROWS):
        block = array[first : first + BLOCK_ROWS]
        check_finite(block, "vectors", first)
        check_magnitude(block, "vectors", first)
        yield np.asarray(block, dtype=np.float32)
