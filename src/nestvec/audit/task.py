"""What is audited, by row."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nestvec.adapt import Rotation
from nestvec.audit.model import DEPTH, Encoded, Judged, Triplets, Variant
from nestvec.audit.transform import are_unit
from nestvec.audit.verdict import Thresholds
from nestvec.metrics import Id
from nestvec.shapes import Float32, Int64


@dataclass(frozen=True)
class Candidate:
    """A variant, and its vectors if they were made elsewhere."""

    variant: Variant
    encoded: Encoded | None = None


@dataclass(frozen=True)
class Task:
    """Both sides as float32, and all that is known of them, by row."""

    full: Encoded
    ids: Sequence[Id]
    query_ids: Sequence[Id]
    own: Int64[np.ndarray, " q"]
    """The document that each query is, never its answer; −1: none."""
    judged: Judged | None
    triplets: Triplets | None
    groups: Int64[np.ndarray, " q"] | None
    candidates: tuple[Candidate, ...]
    thresholds: Thresholds
    seed: int

    @cached_property
    def unit(self) -> bool:
        """Whether both sides are unit vectors, so that their prefixes are made so too."""
        return are_unit(self.full)

    @cached_property
    def rotation(self) -> Rotation:
        """The principal directions of the documents, fitted when a variant first needs them."""
        return Rotation.fit(self.full.documents)

    @property
    def depth(self) -> int:
        """How many answers are ranked."""
        return min(DEPTH, len(self.full.documents) - 1)

    def describe(self) -> dict[str, Any]:
        """The inputs as the report states them: sizes, and hashes that tell other inputs apart."""
        return {
            "documents": _describe(self.full.documents),
            "queries": _describe(self.full.queries),
            "unit": self.unit,
            "judgements": 0 if self.judged is None else len(self.judged.queries),
            "judged_queries": 0 if self.judged is None else len(np.unique(self.judged.queries)),
            "hard_negatives": 0 if self.triplets is None else len(self.triplets.queries),
            "groups": None if self.groups is None else len(np.unique(self.groups)),
            "queries_among_documents": int((self.own >= 0).sum()),
        }


def _describe(vectors: Float32[np.ndarray, "n dim"]) -> dict[str, Any]:
    digest = hashlib.sha256(np.ascontiguousarray(vectors).data.cast("B")).hexdigest()
    return {"n": len(vectors), "dim": vectors.shape[1], "sha256": digest}
