"""The words of an audit: what is compared with what, and what is found out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from nestvec.shapes import Float32, Float64, Int64
from nestvec.statistics import Estimate

Side = Literal["both", "documents", "queries"]
FULL_BITS = 32


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
    rescore: int = 0
    """The best so many are ranked anew by full vectors; 0: they are not."""
    control: str | None = None
    """Why the variant is there, if only to be compared with."""


@dataclass(frozen=True)
class Encoded:
    """Both sides as a variant makes them: scores are inner products of these float32 rows.

    Codes are held decoded, so that one arithmetic serves every variant; prefixes are renormalised
    where the full vectors are unit vectors.
    """

    queries: Float32[np.ndarray, "q width"]
    documents: Float32[np.ndarray, "n width"]


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
