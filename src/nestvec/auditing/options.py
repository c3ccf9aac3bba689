"""What a caller may say beyond vectors, queries and judgements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from nestvec.encode import Encoder


@dataclass(frozen=True)
class Texts:
    """The texts behind the vectors, row by row, and the model that made these of them.

    With them worst queries are shown as they were asked. With a model, queries are encoded anew
    with typing errors, and, where there are judgements, documents with one detail made wrong
    (negation, number, date, entity; English). Nothing of this is asked of vectors made elsewhere.
    """

    documents: Sequence[str] | None = None
    queries: Sequence[str] | None = None
    encoder: "Encoder | None" = None
    """Of the documents, and of the queries unless these have their own."""
    query_encoder: "Encoder | None" = None


@dataclass(frozen=True)
class Stress:
    """What is known to be difficult; every part is measured beside what is not.

    Nothing here changes a verdict: that is about all queries.
    """

    slices: Mapping[str, Sequence[Any] | np.ndarray] = field(default_factory=dict)
    """By name, true or false or a category for each query: a language, a kind, a customer. Parts
    of fewer than 20 judged queries are not told of."""
    frequencies: Sequence[int] | np.ndarray | None = None
    """How often each query is asked, or its entity or class occurs: the rarest tenth is a slice."""
    noisy: Mapping[str, ArrayLike] = field(default_factory=dict)
    """By name, the queries [q, dim] anew, as they come in when something disturbs them."""
    strangers: Mapping[str, ArrayLike] = field(default_factory=dict)
    """By name, queries [m, dim] of another kind than those asked, without judgements. (With
    judgements, put them among the queries and name them in `slices`.)"""
    labels: Sequence[Any] | np.ndarray | None = None
    """The class of each document, for classification by a few examples. Its size is the frequency
    of queries that it answers, where there are judgements and no other `frequencies`."""
