"""The words of an audit: what is compared with what, and what is found out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from nestvec.shapes import Float32, Float64, Int64
from nestvec.statistics import Estimate

Side = Literal["both", "documents", "queries"]
FULL_BITS = 32
K = 10
"""Answers are judged by their first ten."""
DEPTH = 100
"""So many answers are ranked per query, where there are as many documents."""
EDITED = "edited"
"""All kinds of near misses together that were made by editing answers."""
UNIT_TOLERANCE = 1e-3
"""Vectors whose lengths are 1 within this are unit vectors."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to make vectors smaller; which of its sides are, and whether answers are rescored."""

    dims: int
    bits: int = FULL_BITS
    """Per dimension: 32 is full precision; 8, 4, 2 and 1 are codes."""
    rotation: str = "none"
    """"none" (prefix as it is), "pca" (fitted on the documents), "random" (a random subset of
    dimensions, the control)."""
    side: Side = "both"
    """The side that is coded. Both have `dims` dimensions: inner products need as many."""
    rescore: int = 0
    """The best so many are ranked anew by full vectors; 0: they are not."""
    control: str | None = None
    """Why the variant is there, if only to be compared with."""
    label: str | None = None
    """What vectors that were made elsewhere are called."""

    @property
    def name(self) -> str:
        """What tells it from others: "64 dims, 1 bit, pca, documents only, rescored 100"."""
        parts = [
            self.label,
            f"{self.dims} dims",
            f"{self.bits} {'bit' if self.bits == 1 else 'bits'}",
            None if self.rotation == "none" else self.rotation,
            None if self.side == "both" else f"{self.side} only",
            f"rescored {self.rescore}" if self.rescore else None,
        ]
        return ", ".join(part for part in parts if part)

    def size_bytes(self) -> float:
        """What a document takes; full vectors for rescoring, which may lie on disk, not counted."""
        bits = FULL_BITS if self.side == "queries" else self.bits
        return self.dims * bits / 8


@dataclass(frozen=True)
class Encoded:
    """Both sides as a variant makes them: scores are inner products of these float32 rows.

    Codes are held decoded, so that one arithmetic serves every variant; prefixes are renormalised
    where the full vectors are unit vectors.
    """

    queries: Float32[np.ndarray, "q width"]
    documents: Float32[np.ndarray, "n width"]


@dataclass(frozen=True)
class Ranking:
    """The best documents of each query, best first; equal scores go to the smaller row."""

    rows: Int64[np.ndarray, "q k"]
    scores: Float32[np.ndarray, "q k"]
    """−∞ for rows behind those that were rescored: the two have no common scale."""


@dataclass(frozen=True)
class Judged:
    """Relevant documents of the queries that have some."""

    queries: Int64[np.ndarray, " judgements"]
    """Query row of each judgement, rising."""
    documents: Int64[np.ndarray, " judgements"]
    grades: Float64[np.ndarray, " judgements"]
    """Above 0."""


@dataclass(frozen=True)
class Triplets:
    """A query, a document that answers it and one that only nearly does, and what kind that is."""

    queries: Int64[np.ndarray, " t"]
    positives: Int64[np.ndarray, " t"]
    negatives: Int64[np.ndarray, " t"]
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """What one check says of one variant: numbers with intervals, and what explains them."""

    metrics: Mapping[str, Estimate]
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON values: curves, tables, examples."""


@dataclass(frozen=True, slots=True)
class Check:
    """One deterministic question of the preflight, and its answer."""

    name: str
    status: Literal["ok", "warning", "fail", "skipped"]
    said: str
    """What was seen, and what to do about it if it is not "ok"."""
    value: float | None = None
