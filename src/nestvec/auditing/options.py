"""Options of an audit beyond vectors, queries and judgments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from nestvec.deprecation import renamed_attributes, renamed_fields
from nestvec.metrics import Id

if TYPE_CHECKING:
    from nestvec.encode import Encoder


@dataclass(frozen=True)
class AuditTexts:
    """Texts of the vectors, row by row, and the encoder of these texts.

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


class AuditOptions(TypedDict, total=False):
    """Keyword options of `nestvec.audit`.

    - `ids`, `query_ids`: ids of documents and queries (None: row numbers).
    - `groups`: for each query, which queries were drawn together, such as those of one user;
      intervals then are of groups.
    - `self_match`: for each query the row that it was drawn from (−1: none), which is never one of
      its answers (None: the first row with the same vector).
    - `mine_hard_negatives`: the source of hard negatives where there are judgments and no
      `hard_negatives`: "union" (the default), wrong documents that the full vectors or the variant
      rank high; "bm25", BM25 on `texts`; (documents, queries), embeddings of another encoder; None.
    - `texts`: with their encoder, documents are edited and queries are mistyped.
    - `stress`: slices, perturbed and out-of-distribution queries, and labels.
    - `thresholds`: values that replace those of `Thresholds`.
    - `seed`: equal input and seed (0) give an equal report.
    - `checkpoint`: a folder that keeps the results so far; the same audit, started again after it
      was stopped, continues from there and gives the same report.
    """

    ids: Sequence[Id] | np.ndarray | None
    query_ids: Sequence[Id] | np.ndarray | None
    groups: Sequence[Any] | np.ndarray | None
    self_match: ArrayLike | None
    mine_hard_negatives: str | Sequence[ArrayLike] | None
    texts: AuditTexts | None
    stress: StressOptions | None
    thresholds: Mapping[str, Any] | None
    seed: int
    checkpoint: str | Path | None


DEFAULTS = AuditOptions(
    ids=None, query_ids=None, groups=None, self_match=None, mine_hard_negatives="union",
    texts=None, stress=None, thresholds=None, seed=0, checkpoint=None,
)  # fmt: skip


__getattr__ = renamed_attributes(
    __name__, {"Texts": ("AuditTexts", AuditTexts), "Stress": ("StressOptions", StressOptions)}
)
