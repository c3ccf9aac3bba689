"""Values of an audit: compressed variants, embeddings, rankings, judgments and results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from nestvec.plan import Plan
from nestvec.shapes import Float32, Float64, Int64
from nestvec.statistics import Estimate

Side = Literal["both", "documents", "queries"]
FULL_BITS = 32
K = 10
"""Rankings are judged by their first 10 documents."""
DEPTH = 100
"""Documents that are ranked per query, where the corpus has as many."""
COUNTERFACTUAL = "counterfactual"
"""Suffix of metrics over counterfactual documents of all kinds together."""
EXTERNAL = "external"
"""Label of vectors that were compressed elsewhere and come without a label."""
UNIT_TOLERANCE = 1e-3
"""Vectors whose lengths are 1 within this are unit vectors."""
_EXTERNAL_SEED = "given"
"""Spelling of the label `EXTERNAL` in schema 1, from which random numbers still follow."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to make vectors smaller: dims, bits, an optional rotation and an optional rerank."""

    dims: int
    bits: int = FULL_BITS
    """Per dimension: 32 is full precision; 8, 4, 2 and 1 are codes."""
    rotation: str = "none"
    """"none", or "pca": the PCA rotation that is fitted on the documents."""
    random_dims: bool = False
    """Take a random subset of the dimensions instead of the first ones; a control."""
    side: Side = "both"
    """The side that is coded. Both have `dims` dimensions: inner products need as many."""
    rerank: int = 0
    """Length of the shortlist that full-precision vectors rerank; 0: no rerank."""
    control: str | None = None
    """Reason why the variant is there only to be compared with; None: it is no control."""
    label: str | None = None
    """Name of vectors that were compressed elsewhere."""
    plan: str | None = None
    """The search plan of a vector store, whose hits are audited; `dims` and `bits` then are the
    most that one of its stages reads, and a rerank is part of the plan. None: no plan."""

    @property
    def name(self) -> str:
        """Key of the variant in a report: "64 dims, 1 bit, pca, documents only, reranked 100"."""
        if self.plan is not None:
            return f"plan {self.plan}"
        return _join(
            self.label,
            f"{self.dims} random dims" if self.random_dims else f"{self.dims} dims",
            self._bits_text,
            None if self.rotation == "none" else self.rotation,
            self._side_text,
            f"reranked {self.rerank}" if self.rerank else None,
        )

    @property
    def seed_key(self) -> str:
        """Text from which the variant's random numbers follow: its name as schema 1 spelled it.

        Part of every figure: a change here changes every interval of every report.
        """
        if self.plan is not None:
            return self.name
        return _join(
            _EXTERNAL_SEED if self.label == EXTERNAL else self.label,
            f"{self.dims} dims",
            self._bits_text,
            "random" if self.random_dims else None if self.rotation == "none" else self.rotation,
            self._side_text,
            f"rescored {self.rerank}" if self.rerank else None,
        )

    def size_bytes(self) -> float:
        """Bytes per document, without the full-precision vectors of a rerank (often on disk).

        Of a plan: those of all bit planes that its stages read.
        """
        if self.plan is not None:
            return (Plan.parse(self.plan).code_bits or self.dims * FULL_BITS) / 8
        bits = FULL_BITS if self.side == "queries" else self.bits
        return self.dims * bits / 8

    @property
    def _bits_text(self) -> str:
        return f"{self.bits} {'bit' if self.bits == 1 else 'bits'}"

    @property
    def _side_text(self) -> str | None:
        return None if self.side == "both" else f"{self.side} only"


def _join(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class EmbeddingPair:
    """Embeddings of both sides under one encoding; a score is the inner product of two rows.

    Codes are decoded, so that all variants are scored in the same way. Prefixes are renormalised
    where the full vectors are unit vectors.
    """

    queries: Float32[np.ndarray, "q width"]
    documents: Float32[np.ndarray, "n width"]


@dataclass(frozen=True)
class Ranking:
    """The best documents of each query, best first; equal scores go to the smaller row."""

    rows: Int64[np.ndarray, "q k"]
    scores: Float32[np.ndarray, "q k"]
    """−∞ for rows behind a reranked shortlist, because the two have no common scale."""


@dataclass(frozen=True)
class RelevanceJudgments:
    """Relevant documents and their grades, for the queries that have some."""

    queries: Int64[np.ndarray, " judgments"]
    """Query row of each judgment, rising."""
    documents: Int64[np.ndarray, " judgments"]
    grades: Float64[np.ndarray, " judgments"]
    """Above 0."""


@dataclass(frozen=True)
class Triplets:
    """Hard negatives: a query, a relevant document, a wrong one that is similar, and its kind."""

    queries: Int64[np.ndarray, " t"]
    positives: Int64[np.ndarray, " t"]
    negatives: Int64[np.ndarray, " t"]
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class CheckResult:
    """Result of one check of one variant: metrics with intervals, and details that explain them."""

    metrics: Mapping[str, Estimate]
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON values: curves, tables, examples."""


@dataclass(frozen=True, slots=True)
class PreflightCheck:
    """One deterministic test before any statistics, with its outcome."""

    name: str
    status: Literal["ok", "warning", "fail", "skipped"]
    message: str
    """One sentence: the observation, and what to do about it if the status is not "ok"."""
    value: float | None = None
