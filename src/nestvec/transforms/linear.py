"""Linear maps that need not keep inner products."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import VectorsError
from nestvec.shapes import Float32
from nestvec.transforms.base import Adapter, Affine, Arrays, Facts, Side
from nestvec.transforms.rotation import Rotation, float32_blocks, second_moment
from nestvec.vectors import check_dims, check_vectors, normalize


@dataclass(frozen=True, eq=False)
class Linear(Adapter):
    """Rows times `matrix`, plus `offset`; both sides alike. Not lossless: scores change."""

    kind: ClassVar[str] = "linear"
    matrix: Float32[np.ndarray, "dim width"]
    offset: Float32[np.ndarray, " width"]

    @classmethod
    def fit_centred(cls, vectors: ArrayLike) -> "Linear":
        """Centred PCA: the mean is taken away, then the directions of most variance come first.

        Taking the mean away is lossy: inner products and cosines are other ones afterwards, at
        full width too. `Rotation.fit` is the one that keeps them.
        """
        array = check_vectors(vectors)
        if len(array) == 0:
            raise VectorsError("vectors have no rows; centring needs at least one")
        moment, total = np.zeros((array.shape[1],) * 2), np.zeros(array.shape[1])
        for block in float32_blocks(array):
            moment += second_moment(iter([block]), array.shape[1])
            total += block.sum(axis=0, dtype=np.float64)
        mean = total / len(array)
        matrix = Rotation.from_second_moment(moment / len(array) - np.outer(mean, mean)).matrix
        return cls(matrix, np.asarray(-mean @ matrix, dtype=np.float32))

    @classmethod
    def fit_neighbours(cls, vectors: ArrayLike, *, seed: int = 0) -> "Linear":
        """Directions in which rows differ more than nearest neighbours do come first.

        A closed form that needs no torch and no judgements (`adapt.start.whitened`): it evens
        out differences between rows that mean nearly the same. Not lossless: scores are other ones
        at full width too, better ones by most judgements we have, though nothing shows that without
        any (docs/how-to/adapting.md). At most 50,000 rows are looked at, drawn by `seed`.
        """
        from nestvec.adapt.config import Recipe
        from nestvec.adapt.initialization import neighbour_whitening
        from nestvec.adapt.training_data import Material

        material = Material.read(vectors, seed=seed)
        if not len(material.documents):
            raise VectorsError("vectors have no rows; neighbours need at least some")
        matrix = neighbour_whitening(material, Recipe(), seed)
        return cls(matrix, np.zeros(material.dim, np.float32))

    @property
    def dim(self) -> int:
        """Width of the vectors it takes."""
        return len(self.matrix)

    @property
    def width(self) -> int:
        """Width of the vectors it gives."""
        return int(self.matrix.shape[1])

    def apply(
        self, rows: Float32[np.ndarray, "n dim"], dims: int, side: Side
    ) -> Float32[np.ndarray, "n dims"]:
        """The product, of either side."""
        return np.asarray(rows @ self.matrix[:, :dims] + self.offset[:dims])

    def affine(self, side: Side = "documents") -> Affine | None:
        """The matrix and the offset."""
        return Affine(self.matrix, self.offset)

    def arrays(self) -> Arrays:
        """The matrix and the offset."""
        return {"matrix": self.matrix, "offset": self.offset}

    def facts(self) -> Facts:
        """None."""
        return {}

    @classmethod
    def restore(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "Linear":
        """The map; `ValueError` where the two do not fit together."""
        if arrays["matrix"].shape[1:] != arrays["offset"].shape:
            raise ValueError("its matrix and its offset have different widths")
        return cls(arrays["matrix"], arrays["offset"])


@dataclass(frozen=True, eq=False)
class Prefix(Adapter):
    """The first `width` of `dim` dimensions, renormalised to unit length."""

    kind: ClassVar[str] = "prefix"
    given: int
    kept: int

    def __post_init__(self) -> None:
        check_dims(self.kept, self.given)

    @property
    def dim(self) -> int:
        """Width of the vectors it takes."""
        return self.given

    @property
    def width(self) -> int:
        """Width of the vectors it gives."""
        return self.kept

    def apply(
        self, rows: Float32[np.ndarray, "n dim"], dims: int, side: Side
    ) -> Float32[np.ndarray, "n dims"]:
        """The prefix, of unit length as a whole: `dims` of it are a prefix of that."""
        return np.asarray(normalize(rows[:, : self.kept])[:, :dims])

    def affine(self, side: Side = "documents") -> Affine | None:
        """None: each row has a length of its own."""
        return None

    def arrays(self) -> Arrays:
        """None."""
        return {}

    def facts(self) -> Facts:
        """Both widths."""
        return {"given": self.given, "kept": self.kept}

    @classmethod
    def restore(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "Prefix":
        """The same prefix."""
        return cls(int(facts["given"]), int(facts["kept"]))
