"""What is audited, by row."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from nestvec.adapt import Rotation
from nestvec.auditing.compression.compressor import are_unit
from nestvec.auditing.measures.relevance import judged_queries
from nestvec.auditing.options import Texts
from nestvec.auditing.perturbations.reencoding import Edited
from nestvec.auditing.seeding import generator
from nestvec.auditing.types import DEPTH, Encoded, Judged, Triplets, Variant
from nestvec.auditing.verdict import Thresholds
from nestvec.metrics import Id
from nestvec.shapes import Bool, Float32, Int64

_SAMPLED_QUERIES = 300


@dataclass(frozen=True)
class Candidate:
    """A variant, and its vectors if they were made elsewhere."""

    variant: Variant
    encoded: Encoded | None = None


Origin = Literal["given", "union", "words", "other"]
"""Who made the hard negatives: the caller, both sides, BM25, or vectors not under audit."""


@dataclass(frozen=True)
class Extras:
    """What is known beyond vectors and judgements."""

    texts: Texts = field(default_factory=Texts)
    edited: Edited | None = None
    disturbed: Mapping[str, Float32[np.ndarray, "some dim"]] = field(default_factory=dict)
    """By name, the queries of `Task.sample` anew, at full width."""
    strangers: Mapping[str, Float32[np.ndarray, "_ dim"]] = field(default_factory=dict)
    slices: Mapping[str, Bool[np.ndarray, " q"]] = field(default_factory=dict)
    """Neither all nor none of the queries asked."""
    frequencies: Int64[np.ndarray, " q"] | None = None
    labels: Int64[np.ndarray, " n"] | None = None


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
    """Hard negatives that are the same for all variants."""
    groups: Int64[np.ndarray, " q"] | None
    candidates: tuple[Candidate, ...]
    thresholds: Thresholds
    seed: int
    negatives: Origin | None = None
    """Whose the hard negatives are; None: there are none. "union": each variant has others."""
    extras: Extras = field(default_factory=Extras)

    @cached_property
    def unit(self) -> bool:
        """Whether both sides are unit vectors, so that their prefixes are made so too."""
        return are_unit(self.full)

    @cached_property
    def rotation(self) -> Rotation:
        """The principal directions of the documents, fitted when a variant first needs them."""
        return Rotation.fit(self.full.documents)

    @cached_property
    def asked(self) -> Int64[np.ndarray, " asked"]:
        """The queries that a verdict is about: the judged ones, or all without judgements."""
        if self.judged is None:
            return np.arange(len(self.full.queries))
        return judged_queries(self.judged)

    @cached_property
    def sample(self) -> Int64[np.ndarray, " some"]:
        """Up to 300 of the queries asked, for what takes a ranking of its own."""
        return np.sort(generator(self.seed, "sample").permutation(self.asked)[:_SAMPLED_QUERIES])

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
            "hard_negatives_by": self.negatives,
            "edited_documents": self._edits,
            "disturbed_queries": len(self.sample),
            "slices": len(self.extras.slices),
            "strangers": sum(map(len, self.extras.strangers.values())),
            "classes": self._classes,
            "groups": None if self.groups is None else len(np.unique(self.groups)),
            "queries_among_documents": int((self.own >= 0).sum()),
        }

    @property
    def _edits(self) -> int:
        edited = self.extras.edited
        return 0 if edited is None else len(edited.rows) - edited.corpus

    @property
    def _classes(self) -> int:
        return 0 if self.extras.labels is None else len(np.unique(self.extras.labels))


def _describe(vectors: Float32[np.ndarray, "n dim"]) -> dict[str, Any]:
    digest = hashlib.sha256(np.ascontiguousarray(vectors).data.cast("B")).hexdigest()
    return {"n": len(vectors), "dim": vectors.shape[1], "sha256": digest}
