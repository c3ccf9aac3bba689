"""Inputs of an audit, checked and by row, and what every check shares of them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from nestvec.adapt import Rotation
from nestvec.auditing.compression.variant_encoder import are_unit
from nestvec.auditing.measures.relevance import queries_with_judgments
from nestvec.auditing.options import AuditTexts
from nestvec.auditing.perturbations.reencoding import Counterfactuals
from nestvec.auditing.ranking.plan_search import PlanSearch
from nestvec.auditing.seeding import generator
from nestvec.auditing.types import DEPTH, EmbeddingPair, RelevanceJudgments, Triplets, Variant
from nestvec.auditing.verdict import Thresholds
from nestvec.metrics import Id
from nestvec.shapes import Bool, Float32, Int64

_SAMPLED_QUERIES = 300
"""Queries of the stress sample: encoding and ranking them again stays cheap."""


@dataclass(frozen=True)
class AuditedVariant:
    """A variant, with its embeddings if it was compressed elsewhere, or the search of its plan."""

    variant: Variant
    embeddings: EmbeddingPair | None = None
    plan_search: PlanSearch | None = None


HardNegativeSource = Literal["user", "union", "bm25", "external"]
"""Origin of the hard negatives: the caller; the union of both rankings; BM25; vectors that are not
under audit."""


@dataclass(frozen=True)
class StressInputs:
    """Texts, difficult queries and classes, by row."""

    texts: AuditTexts = field(default_factory=AuditTexts)
    counterfactuals: Counterfactuals | None = None
    perturbed_queries: Mapping[str, Float32[np.ndarray, "sample dim"]] = field(default_factory=dict)
    """By name, the perturbed queries of `AuditInputs.stress_sample`, at full width."""
    out_of_distribution_queries: Mapping[str, Float32[np.ndarray, "_ dim"]] = field(
        default_factory=dict
    )
    slices: Mapping[str, Bool[np.ndarray, " q"]] = field(default_factory=dict)
    """By name, masks that hold some of the evaluated queries and not all."""
    frequencies: Int64[np.ndarray, " q"] | None = None
    labels: Int64[np.ndarray, " n"] | None = None


@dataclass(frozen=True)
class AuditInputs:
    """Full-precision embeddings of both sides with everything known about their rows."""

    full: EmbeddingPair
    ids: Sequence[Id]
    query_ids: Sequence[Id]
    self_match: Int64[np.ndarray, " q"]
    """The row that each query was drawn from, which is never one of its answers; −1: none."""
    judgments: RelevanceJudgments | None
    triplets: Triplets | None
    """Hard negatives that are the same for all variants."""
    groups: Int64[np.ndarray, " q"] | None
    variants: tuple[AuditedVariant, ...]
    thresholds: Thresholds
    seed: int
    hard_negative_source: HardNegativeSource | None = None
    """None: there are no hard negatives. "union": they differ from variant to variant."""
    stress: StressInputs = field(default_factory=StressInputs)

    @cached_property
    def unit(self) -> bool:
        """True where both sides are unit vectors, so that prefixes are renormalised."""
        return are_unit(self.full)

    @cached_property
    def rotation(self) -> Rotation:
        """PCA rotation of the documents, fitted when a variant first needs it."""
        return Rotation.fit(self.full.documents)

    @cached_property
    def evaluated_queries(self) -> Int64[np.ndarray, " evaluated"]:
        """Rows of the queries that a verdict is about: those with judgments, or else all."""
        if self.judgments is None:
            return np.arange(len(self.full.queries))
        return queries_with_judgments(self.judgments)

    @cached_property
    def stress_sample(self) -> Int64[np.ndarray, " sample"]:
        """Rows of up to 300 evaluated queries, for checks that need another ranking."""
        shuffled = generator(self.seed, "sample").permutation(self.evaluated_queries)
        return np.sort(shuffled[:_SAMPLED_QUERIES])

    @property
    def depth(self) -> int:
        """Number of documents that are ranked per query."""
        return min(DEPTH, len(self.full.documents) - 1)

    def describe(self) -> dict[str, Any]:
        """Summarise the inputs for the report: sizes, and hashes that tell other inputs apart."""
        judgments = self.judgments
        return {
            "documents": _describe(self.full.documents),
            "queries": _describe(self.full.queries),
            "unit": self.unit,
            "judgments": 0 if judgments is None else len(judgments.queries),
            "judged_queries": 0 if judgments is None else len(np.unique(judgments.queries)),
            "hard_negatives": 0 if self.triplets is None else len(self.triplets.queries),
            "hard_negative_source": self.hard_negative_source,
            "counterfactual_documents": self._n_counterfactuals,
            "perturbed_queries": len(self.stress_sample),
            "slices": len(self.stress.slices),
            "out_of_distribution_queries": sum(
                map(len, self.stress.out_of_distribution_queries.values())
            ),
            "classes": self._n_classes,
            "groups": None if self.groups is None else len(np.unique(self.groups)),
            "self_matches": int((self.self_match >= 0).sum()),
        }

    @property
    def _n_counterfactuals(self) -> int:
        counterfactuals = self.stress.counterfactuals
        return (
            0 if counterfactuals is None else len(counterfactuals.rows) - counterfactuals.n_corpus
        )

    @property
    def _n_classes(self) -> int:
        return 0 if self.stress.labels is None else len(np.unique(self.stress.labels))


def _describe(vectors: Float32[np.ndarray, "n dim"]) -> dict[str, Any]:
    digest = hashlib.sha256(np.ascontiguousarray(vectors).data.cast("B")).hexdigest()
    return {"n": len(vectors), "dim": vectors.shape[1], "sha256": digest}
