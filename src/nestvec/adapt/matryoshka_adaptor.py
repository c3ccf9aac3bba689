"""`MatryoshkaAdaptor`: a learned map that makes the prefixes of frozen embeddings useful."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from nestvec.progress import Progress, silent
from nestvec.shapes import Float32
from nestvec.transforms.base import Adapter, Affine, Arrays, Facts, Side, check_sizes
from nestvec.transforms.rotation import is_orthogonal

if TYPE_CHECKING:
    from nestvec.adapt.config import Recipe
    from nestvec.adapt.report import FitReport
    from nestvec.adapt.training_data import Pairs
    from nestvec.metrics import Id

# What fits is imported where it is used: `import nestvec` is fast.


@dataclass(frozen=True, eq=False)
class Residual:
    """max(0, x · `into` + `bias`) · `out`: what a hidden layer adds."""

    into: Float32[np.ndarray, "dim hidden"]
    bias: Float32[np.ndarray, " hidden"]
    out: Float32[np.ndarray, "hidden width"]


@dataclass(frozen=True, eq=False)
class Map:
    """x · `matrix`, plus the residual if there is one."""

    matrix: Float32[np.ndarray, "dim width"]
    residual: Residual | None = None

    def __call__(self, rows: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n width"]:
        """The mapped rows, of any length."""
        mapped = rows @ self.matrix
        if self.residual is not None:
            hidden = rows @ self.residual.into + self.residual.bias
            mapped += np.maximum(hidden, 0, out=hidden) @ self.residual.out
        return np.asarray(mapped)

    def arrays(self) -> Arrays:
        """All its numbers, by name."""
        return {"matrix": self.matrix, **(vars(self.residual) if self.residual else {})}

    @classmethod
    def restore(cls, arrays: Mapping[str, np.ndarray]) -> "Map":
        """`ValueError` or `KeyError` for shapes that do not fit together."""
        matrix = arrays["matrix"]
        if len(arrays) == 1:
            return cls(matrix)
        residual = Residual(arrays["into"], arrays["bias"], arrays["out"])
        dim, width = matrix.shape
        hidden = len(residual.bias)
        if residual.into.shape != (dim, hidden) or residual.out.shape != (hidden, width):
            raise ValueError("the shapes of its layers do not fit together")
        return cls(matrix, residual)


@dataclass(frozen=True, eq=False)
class MatryoshkaAdaptor(Adapter):
    """Queries and documents through their maps; every row keeps its length.

    After Matryoshka-Adaptor (Yoon et al., 2407.20243): a residual on the embedding, trained for all
    sizes at once. `report` says what held-out queries showed. Applying it needs NumPy alone.
    """

    kind: ClassVar[str] = "adaptor"
    documents: Map
    queries: Map
    sizes: tuple[int, ...]
    front: float | None = None
    report: "FitReport | None" = None

    @classmethod
    def fit(  # noqa: PLR0913  one call says all about a fit
        cls,
        vectors: ArrayLike,
        dims: Sequence[int],
        pairs: "Pairs | None" = None,
        *,
        queries: ArrayLike | None = None,
        ids: "Sequence[Id] | np.ndarray | None" = None,
        query_ids: "Sequence[Id] | np.ndarray | None" = None,
        recipe: "Recipe | None" = None,
        seed: int = 0,
        confidence: float = 0.95,
        force: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        told: Callable[[int, float], None] = lambda step, value: None,
        progress: Progress = silent,
    ) -> "MatryoshkaAdaptor":
        """Trained on `vectors` [n, dim] for prefixes of `dims`; needs the extra `train`.

        Without `pairs` it learns to keep the full-width ranking for `queries` [q, dim], or for the
        vectors themselves. `pairs` are (query id, document id), maybe with a grade, or qrels: then
        it also learns what people found relevant. Ids are row numbers unless given; without
        `queries` both ids of a pair are of `vectors`. The direction of a row matters, not its
        length. At most 50,000 rows are looked at, drawn by `seed`.

        A share of the queries is held out. If the adaptor does not beat PCA on these by a
        bound at `confidence`, the adaptor returned does no more than rotate, unless `force`;
        `report` says so. Training that was stopped goes on from the files named after `checkpoint`.
        `told` hears the step and the held-out quality now and then. Equal input and seed give an
        equal adaptor. `InputError` for what cannot be learned from.
        """
        from nestvec.adapt.config import Recipe
        from nestvec.adapt.fitting import Fit
        from nestvec.adapt.training_data import Material
        from nestvec.extras import require

        require("torch", "train")
        material = Material.read(vectors, pairs, queries, ids, query_ids, seed)
        usual = Recipe.keeping() if pairs is None else Recipe()
        fit = Fit(
            material, check_sizes(dims, material.dim), recipe or usual, seed, confidence, force
        )
        return fit.run(None if checkpoint is None else Path(checkpoint), told, progress)

    @classmethod
    def rotation(
        cls, matrix: Float32[np.ndarray, "dim dim"], sizes: tuple[int, ...]
    ) -> "MatryoshkaAdaptor":
        """The adaptor that does no more than rotate."""
        rotated = Map(matrix)
        return cls(rotated, rotated, sizes)

    @property
    def dim(self) -> int:
        """Width of the vectors it takes."""
        return len(self.documents.matrix)

    @property
    def width(self) -> int:
        """Width of the vectors it gives."""
        return int(self.documents.matrix.shape[1])

    @property
    def dims(self) -> tuple[int, ...]:
        """The sizes it was trained for."""
        return self.sizes

    @cached_property
    def lossless(self) -> bool:
        """Whether it does no more than rotate."""
        plain = self.documents.residual is None and not self.two_sided
        return plain and is_orthogonal(self.documents.matrix)

    @property
    def front_energy(self) -> float | None:
        """As measured on what it was fitted to."""
        return self.front

    @property
    def two_sided(self) -> bool:
        """Whether queries are mapped in another way than documents."""
        return self.queries is not self.documents

    def map_of(self, side: Side) -> Map:
        """The map of one side."""
        return self.documents if side == "documents" else self.queries

    def apply(
        self, rows: Float32[np.ndarray, "n dim"], dims: int, side: Side
    ) -> Float32[np.ndarray, "n dims"]:
        """Mapped, and brought back to the length that each row had."""
        mapped = self.map_of(side)(rows)
        was, is_ = (np.sqrt(np.einsum("nd,nd->n", a, a, dtype=np.float64)) for a in (rows, mapped))
        scale = np.divide(was, is_, out=np.ones_like(was), where=is_ > 0).astype(np.float32)
        return np.asarray(mapped[:, :dims] * scale[:, None])

    def affine(self, side: Side = "documents") -> Affine | None:
        """None: rows keep their length. `matrix` is the map without that."""
        return None

    @property
    def matrix(self) -> Float32[np.ndarray, "dim width"] | None:
        """What documents are multiplied by before they get back their length; None: not linear."""
        return None if self.documents.residual else self.documents.matrix

    def arrays(self) -> Arrays:
        """Both maps, or the one that both sides share."""
        maps = {"documents": self.documents, "queries": self.queries}
        kept = maps if self.two_sided else {"documents": self.documents}
        return {
            f"{side}.{name}": a for side, one in kept.items() for name, a in one.arrays().items()
        }

    def facts(self) -> Facts:
        """The sizes, and what to know rows of another kind by."""
        return {"sizes": list(self.sizes), "front": self.front}

    def notes(self) -> Facts:
        """The report."""
        return {"report": None if self.report is None else self.report.to_json()}

    @classmethod
    def restore(
        cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
    ) -> "MatryoshkaAdaptor":
        """The adaptor and its report."""
        from nestvec.adapt.report import FitReport

        maps: dict[str, Map] = {}
        for side in ("documents", "queries"):
            own = {n.partition(".")[2]: a for n, a in arrays.items() if n.startswith(f"{side}.")}
            maps[side] = Map.restore(own) if own else maps["documents"]
        report = None if facts["report"] is None else FitReport.of(facts["report"])
        sizes = tuple(int(size) for size in facts["sizes"])
        return cls(maps["documents"], maps["queries"], sizes, facts["front"], report)
