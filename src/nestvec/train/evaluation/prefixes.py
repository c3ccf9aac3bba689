"""Quality of every prefix of a model's vectors, beside two controls that need no training."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nestvec.adapt import Rotation
from nestvec.exact_top_k import exact_top_k
from nestvec.metrics import Id, Qrels, ndcg_at_k
from nestvec.shapes import Float32, Float64
from nestvec.statistics import Estimate, bootstrap_mean, bootstrap_ratio
from nestvec.vectors import as_float32, check_dims, normalize

CONTROLS = ("random_dims", "pca")


@dataclass(frozen=True, slots=True)
class PrefixScores:
    """nDCG@k of one prefix and of its controls, and their retention: the share of full width's."""

    dims: int
    ndcg: dict[str, Estimate]
    """By "prefix", "random_dims" (as many dimensions, drawn at random) and "pca"."""
    retention: dict[str, Estimate]
    """NaN where full width scores 0."""


def evaluate_prefixes(
    queries: ArrayLike,
    documents: ArrayLike,
    qrels: Qrels,
    dims: Sequence[int],
    *,
    query_ids: Sequence[Id] | None = None,
    document_ids: Sequence[Id] | None = None,
    k: int = 10,
    seed: int = 0,
) -> list[PrefixScores]:
    """Compute nDCG@`k` by cosine at each of `dims`, of vectors [q, dim] and [n, dim].

    A nested model is worth training where its prefixes beat, on the same vectors, random
    dimensions (one nested draw for all dims) and the principal components of the documents about
    the origin, neither of which needs training. Without ids, `qrels` names rows. Intervals are
    95 % bootstrap ones over queries, and those of retention are paired.
    """
    queries, documents = as_float32(queries, "queries"), as_float32(documents, "documents")
    width = documents.shape[1]
    rising_dims = sorted({check_dims(dim, width) for dim in dims})
    ids = list(range(len(queries))) if query_ids is None else list(query_ids)
    k = min(k, len(documents))
    names = np.arange(len(documents)) if document_ids is None else np.asarray(document_ids)
    rng = np.random.default_rng(seed)

    def ndcg(pair: _Pair, dims: int) -> Float64[np.ndarray, " q"]:
        a, b = (normalize(vectors[:, :dims]) for vectors in pair)
        return ndcg_at_k(names[exact_top_k(a, b, k)[0]], ids, qrels, k)

    orders = dict(_orders(queries, documents, rng))
    baseline = ndcg(orders["prefix"], width)
    scores = []
    for prefix_dims in rising_dims:
        per_query = {name: ndcg(pair, prefix_dims) for name, pair in orders.items()}
        scores.append(PrefixScores(
            prefix_dims,
            {name: bootstrap_mean(values, rng) for name, values in per_query.items()},
            {name: _retention(values, baseline, rng) for name, values in per_query.items()},
        ))  # fmt: skip
    return scores


def _retention(
    values: Float64[np.ndarray, " q"],
    baseline: Float64[np.ndarray, " q"],
    rng: np.random.Generator,
) -> Estimate:
    if baseline.any():
        return bootstrap_ratio(values, baseline, rng)
    # An untrained model may score 0; its evaluation must not stop the training.
    return Estimate(math.nan, math.nan, math.nan, len(baseline))


_Pair = tuple[Float32[np.ndarray, "q dim"], Float32[np.ndarray, "n dim"]]


def _orders(
    queries: Float32[np.ndarray, "q dim"],
    documents: Float32[np.ndarray, "n dim"],
    rng: np.random.Generator,
) -> Iterator[tuple[str, _Pair]]:
    """Yield the vectors with their dimensions in the model's, a random, and the PCA's order."""
    yield "prefix", (queries, documents)
    order = rng.permutation(documents.shape[1])
    yield "random_dims", (queries[:, order], documents[:, order])
    rotation = Rotation.fit(documents)
    yield "pca", (rotation.transform(queries), rotation.transform(documents))
