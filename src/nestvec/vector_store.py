"""Protocols of vector stores: the methods of an index or a database that tuning and auditing call.

`Index` implements both. Another store implements them in its own module, without a base class.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from nestvec.documents import Document
from nestvec.hits import Hits
from nestvec.plan import Plan
from nestvec.shapes import Float32
from nestvec.transforms.base import Transform


@runtime_checkable
class VectorStore(Protocol):
    """A store of vectors with ids that can be searched and read."""

    @property
    def dim(self) -> int:
        """The width of the stored vectors."""
        ...

    @property
    def metric(self) -> str:
        """The metric of scores: "ip", "cosine" or "euclidean"."""
        ...

    @property
    def transform(self) -> Transform | None:
        """The transform through which vectors went before they were stored; None: none."""
        ...

    def __len__(self) -> int:
        """The number of live rows."""
        ...

    def transform_queries(
        self, queries: ArrayLike, transformed_by: str | None = None
    ) -> Float32[np.ndarray, "q dim"]:
        """Map queries as stored vectors were mapped, unless `transformed_by` says it was done."""
        ...

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        plan: str | Plan | None = None,
        where: str | None = None,
        exact: bool = False,
        certify: bool = False,
        transformed_by: str | None = None,
    ) -> Hits:
        """Search the `k` best rows of each query [q, dim], among those that match `where`.

        Queries go through the transform, unless `transformed_by` is its fingerprint.
        """
        ...

    def get(self, ids: Any) -> Sequence[Document | None]:
        """Return the documents with these ids, in their order."""
        ...

    def iter_vectors(
        self, block_rows: int = 4096
    ) -> Iterator[tuple[np.ndarray, Float32[np.ndarray, "n dim"]]]:
        """Iterate ids [n] and vectors of live rows, at most `block_rows` at a time."""
        ...


@runtime_checkable
class WritableVectorStore(VectorStore, Protocol):
    """A vector store whose rows can be changed, each call in one commit."""

    def upsert(
        self,
        vectors: ArrayLike,
        *,
        ids: Any,
        texts: Sequence[str | None] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Add rows, and replace whole rows whose ids are there already."""
        ...

    def delete(self, ids: Any) -> int:
        """Delete the rows with these ids, all or, if one is not there, none; return how many."""
        ...
