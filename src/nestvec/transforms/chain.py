"""Adapters one after the other."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from nestvec.errors import VectorsError
from nestvec.shapes import Float32
from nestvec.transforms.base import Adapter, Affine, Arrays, Facts, Side, revive


@dataclass(frozen=True, eq=False)
class Chain(Adapter):
    """The first adapter, then the next on what it gives, and so on."""

    kind: ClassVar[str] = "chain"
    parts: tuple[Adapter, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise VectorsError("a chain of no adapters maps nothing; give at least one")
        for one, next_ in pairwise(self.parts):
            if one.width != next_.dim:
                raise VectorsError(
                    f"a {one.kind} gives vectors of {one.width} dimensions but the {next_.kind} "
                    f"after it takes {next_.dim}; chain adapters whose widths meet"
                )

    @classmethod
    def of(cls, *adapters: Adapter) -> "Chain":
        """A chain of these; chains among them are taken apart, so that order alone matters."""
        flat = (part for a in adapters for part in (a.parts if isinstance(a, Chain) else (a,)))
        return cls(tuple(flat))

    @property
    def dim(self) -> int:
        """Width that the first takes."""
        return self.parts[0].dim

    @property
    def width(self) -> int:
        """Width that the last gives."""
        return self.parts[-1].width

    @property
    def dims(self) -> tuple[int, ...]:
        """What the last that was trained was trained for, as far as the last is wide."""
        trained = next((part.dims for part in reversed(self.parts) if part.dims), ())
        return tuple(size for size in trained if size <= self.width)

    @property
    def first(self) -> Adapter:
        """The first part."""
        return self.parts[0]

    @property
    def lossless(self) -> bool:
        """Whether every part is."""
        return all(part.lossless for part in self.parts)

    def apply(
        self, rows: Float32[np.ndarray, "n dim"], dims: int, side: Side
    ) -> Float32[np.ndarray, "n dims"]:
        """All parts in turn; only the last is spared what is not asked for."""
        *before, last = self.parts
        for part in before:
            rows = part.apply(rows, part.width, side)
        return last.apply(rows, dims, side)

    def affine(self, side: Side = "documents") -> Affine | None:
        """The product of all parts, worked out in float64, if each has one."""
        matrix, offset = np.eye(self.dim), np.zeros(self.dim)
        for part in self.parts:
            step = part.affine(side)
            if step is None:
                return None
            matrix, offset = matrix @ step.matrix, offset @ step.matrix + step.offset
        return Affine(matrix.astype(np.float32), offset.astype(np.float32))

    def arrays(self) -> Arrays:
        """Those of the parts, by place and name."""
        return {
            f"{place}.{name}": array
            for place, part in enumerate(self.parts)
            for name, array in part.arrays().items()
        }

    def facts(self) -> Facts:
        """Kind and facts of each part."""
        return {"parts": [{"kind": part.kind, "facts": part.facts()} for part in self.parts]}

    def notes(self) -> Facts:
        """Those of each part."""
        return {"notes": [part.notes() for part in self.parts]}

    @classmethod
    def restore(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "Chain":
        """Each part restored."""
        parts = []
        for place, (part, notes) in enumerate(zip(facts["parts"], facts["notes"], strict=True)):
            prefix = f"{place}."
            own = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
            parts.append(revive(part["kind"], own, {**notes, **part["facts"]}))
        return cls(tuple(parts))
