"""Compression of embeddings by a variant: fewer dimensions, then codes, fitted on the documents."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from nestvec.adapt import Rotation
from nestvec.auditing.compression.scalar_quantizer import ScalarQuantizer
from nestvec.auditing.types import FULL_BITS, UNIT_TOLERANCE, EmbeddingPair, Variant
from nestvec.parallel import map_blocks
from nestvec.shapes import Float32, Int64
from nestvec.vectors import normalize

_BLOCK_ROWS = 1024
"""Rows that stay in the cache from one step to the next."""


def unit_deviation(vectors: Float32[np.ndarray, "n dim"]) -> float:
    """Largest |length − 1| of any row, without rows of zeros, which have no direction."""
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    lengths = np.sqrt(squares[squares > 0])
    return float(np.abs(lengths - 1).max()) if len(lengths) else 0.0


def are_unit(embeddings: EmbeddingPair) -> bool:
    """Tell whether both sides are unit vectors, within `UNIT_TOLERANCE`."""
    sides = embeddings.queries, embeddings.documents
    return max(map(unit_deviation, sides)) <= UNIT_TOLERANCE


@dataclass(frozen=True)
class VariantEncoder:
    """The two steps of a variant, fitted on documents and the same for queries and documents."""

    variant: Variant
    unit: bool
    """True: rows are renormalised once they have fewer dimensions."""
    rotation: Rotation | None = None
    columns: Int64[np.ndarray, " dims"] | None = None
    quantizer: ScalarQuantizer | None = None

    @classmethod
    def fit_transform(
        cls,
        documents: Float32[np.ndarray, "n dim"],
        variant: Variant,
        unit: bool,
        rotation: Rotation | None = None,
        seed: int = 0,
    ) -> tuple["VariantEncoder", Float32[np.ndarray, "n dims"]]:
        """Fit an encoder on the documents, and return it with the compressed documents.

        `unit` says whether rows are renormalised; `rotation` is the PCA rotation of the documents,
        if it has been fitted before; `seed` draws random dims.
        """
        encoder = cls(variant, unit)
        if variant.rotation == "pca":
            encoder = replace(encoder, rotation=rotation or Rotation.fit(documents))
        if variant.random_dims:
            columns = _random_columns(documents.shape[1], variant.dims, seed)
            encoder = replace(encoder, columns=columns)
        reduced = encoder._reduce(documents)
        if variant.bits == FULL_BITS:
            return encoder, reduced
        quantizer = ScalarQuantizer.fit(reduced, variant.bits)
        compressed = reduced if variant.side == "queries" else quantizer.round(reduced)
        return replace(encoder, quantizer=quantizer), compressed

    def encode_queries(
        self, queries: Float32[np.ndarray, "q dim"]
    ) -> Float32[np.ndarray, "q dims"]:
        """Compress queries of full width."""
        reduced = self._reduce(queries)
        return reduced if self.variant.side == "documents" else self._quantize(reduced)

    def encode_documents(
        self, documents: Float32[np.ndarray, "n dim"]
    ) -> Float32[np.ndarray, "n dims"]:
        """Compress more documents of full width."""
        reduced = self._reduce(documents)
        return reduced if self.variant.side == "queries" else self._quantize(reduced)

    def fingerprint(self) -> str:
        """SHA-256 of everything that was fitted: equal encoders code both sides alike."""
        digest = hashlib.sha256(repr((self.variant, self.unit)).encode())
        arrays = (
            self.rotation and self.rotation.matrix, self.columns,
            self.quantizer and self.quantizer.minimum, self.quantizer and self.quantizer.step,
        )  # fmt: skip
        for array in arrays:
            digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _reduce(self, vectors: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dims"]:
        """Take `dims` dimensions at full precision; full width is not copied."""
        dims, is_prefix = self.variant.dims, self.rotation is None and self.columns is None
        if is_prefix and dims == vectors.shape[1]:
            return vectors
        reduced = np.empty((len(vectors), dims), np.float32)

        def reduce_block(block: slice) -> None:
            columns = self._take_dims(vectors[block])
            # A prefix of a unit vector is not a unit vector.
            reduced[block] = normalize(columns) if self.unit else columns

        map_blocks(reduce_block, len(vectors), _BLOCK_ROWS)
        return reduced

    def _take_dims(self, vectors: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dims"]:
        if self.rotation is not None:
            return self.rotation.transform(vectors, self.variant.dims)
        return vectors[:, : self.variant.dims] if self.columns is None else vectors[:, self.columns]

    def _quantize(self, vectors: Float32[np.ndarray, "n dims"]) -> Float32[np.ndarray, "n dims"]:
        return vectors if self.quantizer is None else self.quantizer.round(vectors)


def encode_variant(
    vectors: Float32[np.ndarray, "n dim"],
    queries: Float32[np.ndarray, "q dim"],
    variant: Variant,
    rotation: Rotation | None = None,
    seed: int = 0,
) -> EmbeddingPair:
    """Compress both sides by one encoder that is fitted on the documents.

    Prefixes are renormalised if both sides are unit vectors. Codes of 8, 4 and 2 bits are
    calibrated per dimension on the documents, and queries are clipped to their range; a code of
    1 bit is the sign, about zero.
    """
    unit = are_unit(EmbeddingPair(queries, vectors))
    encoder, documents = VariantEncoder.fit_transform(vectors, variant, unit, rotation, seed)
    return EmbeddingPair(encoder.encode_queries(queries), documents)


def _random_columns(width: int, dims: int, seed: int) -> Int64[np.ndarray, " dims"]:
    columns = np.random.default_rng([seed, dims]).choice(width, dims, replace=False)
    return np.sort(columns).astype(np.int64)
