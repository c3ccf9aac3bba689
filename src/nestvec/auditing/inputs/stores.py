"""The vectors of a store for an audit, and queries and texts in the space of these vectors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nestvec.auditing.options import AuditTexts, StressOptions
from nestvec.encode import Encoder, ModelInfo
from nestvec.encode.encoder import encode_plain, encode_side
from nestvec.errors import InputError
from nestvec.index import Index
from nestvec.metrics import Id
from nestvec.progress import Progress, silent
from nestvec.shapes import Float32
from nestvec.vector_store import VectorStore
from nestvec.vectors import as_float32, normalize


class StoreContent(NamedTuple):
    """Vectors and ids of a store, and queries as it compares them with its vectors."""

    vectors: Float32[np.ndarray, "n dim"]
    queries: Float32[np.ndarray, "q dim"]
    ids: list[Id]


@dataclass(frozen=True, eq=False)
class StoreSpace:
    """The space of a store's vectors: behind its transform, of unit length if it ranks by cosine.

    Inner products of vectors in this space rank as the store does.
    """

    store: VectorStore

    def read(self, queries: ArrayLike) -> StoreContent:
        """Read the store; `InputError` for one that ranks by Euclidean distance."""
        store = self.store
        if store.metric == "euclidean":
            raise InputError(
                f"{store!r} ranks by distance, and an audit ranks by inner product or cosine; "
                "audit an index of metric ip or cosine"
            )
        if isinstance(store, Index):  # may hand out its mapped file, which is not copied
            ids, vectors = store.ids, store.vectors
        else:
            blocks = [*store.iter_vectors()]
            ids, vectors = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        vectors = normalize(vectors) if store.metric == "cosine" else vectors
        return StoreContent(vectors, self.map_queries(queries), ids.tolist())

    def map_queries(self, queries: ArrayLike) -> Float32[np.ndarray, "q dim"]:
        """Map queries of the model to the space."""
        mapped = self.store.transform_queries(queries)
        return normalize(mapped) if self.store.metric == "cosine" else mapped

    def map_documents(self, vectors: ArrayLike) -> Float32[np.ndarray, "n dim"]:
        """Map documents of the model to the space."""
        mapped = as_float32(vectors, "documents")
        if self.store.transform is not None:
            mapped = self.store.transform.transform(mapped)
        return normalize(mapped) if self.store.metric == "cosine" else mapped

    def map_texts(self, texts: AuditTexts | None) -> AuditTexts | None:
        """Map what the encoders of texts return."""
        if texts is None:
            return None
        return replace(
            texts,
            encoder=texts.encoder and StoreEncoder(texts.encoder, self),
            query_encoder=texts.query_encoder and StoreEncoder(texts.query_encoder, self),
        )

    def map_stress(self, stress: StressOptions | None) -> StressOptions | None:
        """Map perturbed and out-of-distribution queries."""
        if stress is None:
            return None
        perturbed, other = (
            {name: self.map_queries(vectors) for name, vectors in by_name.items()}
            for by_name in (stress.perturbed, stress.out_of_distribution)
        )
        return replace(stress, perturbed=perturbed, out_of_distribution=other)


@dataclass(frozen=True, eq=False)
class StoreEncoder:
    """An encoder whose vectors are mapped to the space of a store."""

    encoder: Encoder
    space: StoreSpace

    @property
    def info(self) -> ModelInfo:
        """The model of the encoder, whose rows are as wide as before the mapping."""
        return self.encoder.info

    def encode(
        self, items: Sequence[str], progress: Progress = silent
    ) -> Float32[np.ndarray, "n dim"]:
        """Encode texts of no side, and map them as queries."""
        return self.space.map_queries(encode_plain(self.encoder, items, progress))

    def encode_query(
        self, items: Sequence[str], progress: Progress = silent
    ) -> Float32[np.ndarray, "n dim"]:
        """Encode and map queries."""
        return self.space.map_queries(encode_side(self.encoder, "query", items, progress))

    def encode_document(
        self, items: Sequence[str], progress: Progress = silent
    ) -> Float32[np.ndarray, "n dim"]:
        """Encode and map documents."""
        return self.space.map_documents(encode_side(self.encoder, "document", items, progress))
