"""Options of an audit beyond vectors, queries and judgments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.deprecation import renamed_attributes, renamed_fields

if TYPE_CHECKING:
    from nestvec.encode import Encoder


@dataclass(frozen=True)
class AuditTexts:
    """Texts of the vectors, row by row, and the encoder that made the vectors of the texts.

    With texts, the report shows the worst queries as they were written. With an encoder too, the
    audit encodes queries with typing errors, and, where there are judgments, documents with one
    detail made wrong (negation, number, date, entity; English). Variants that were compressed
    elsewhere are left out of both checks.
    """

    documents: Sequence[str] | None = None
    queries: Sequence[str] | None = None
    encoder: "Encoder | None" = None
    """Encoder of the documents, and of the queries unless `query_encoder` is set."""
    query_encoder: "Encoder | None" = None


@renamed_fields({"noisy": "perturbed", "strangers": "out_of_distribution"})
@dataclass(frozen=True)
class StressOptions:
    """Difficult queries; the audit measures each kind beside the other queries.

    Nothing here changes a verdict, which is about all queries.
    """

    slices: Mapping[str, Sequence[Any] | np.ndarray] = field(default_factory=dict)
    """By name, true or false or a category for each query: a language, a kind, a customer. Slices
    of fewer than 20 judged queries are left out."""
    frequencies: Sequence[int] | np.ndarray | None = None
    """Frequency of each query in a log, or of its entity or class; the rarest tenth is a slice."""
    perturbed: Mapping[str, ArrayLike] = field(default_factory=dict)
    """By name, vectors [q, dim] of the same queries as they come in when something perturbs
    them."""
    out_of_distribution: Mapping[str, ArrayLike] = field(default_factory=dict)
    """By name, queries [m, dim] of another kind, without judgments. (With judgments, put them among
    the queries and name them in `slices`.)"""
    labels: Sequence[Any] | np.ndarray | None = None
    """Class of each document, for few-shot classification. Where there are judgments and no
    `frequencies`, the size of a class is the frequency of the queries that it answers."""


__getattr__ = renamed_attributes(
    __name__, {"Texts": ("AuditTexts", AuditTexts), "Stress": ("StressOptions", StressOptions)}
)
