"""Every size of a model at once, held against what costs nothing to make."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nestvec.adapt import Rotation
from nestvec.adapt.evaluation import exact_top_k
from nestvec.metrics import Id, Qrels, ndcg_at_k
from nestvec.shapes import Float32, Float64
from nestvec.statistics import Estimate, bootstrap_mean, bootstrap_ratio
from nestvec.vectors import as_float32, check_dims, normalize

CONTROLS = ("random", "pca")


@dataclass(frozen=True, slots=True)
class PrefixScores:
    """One size: nDCG@k of its prefix and of the controls, and each as a share of full width."""

    dims: int
    ndcg: dict[str, Estimate]
    """By "prefix", "random" (as many dimensions drawn at random) and "pca"."""
    retention: dict[str, Estimate]
    """NaN where full width finds nothing."""


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
    """nDCG@`k` by cosine at each size, of vectors that were made once [q, dim] and [n, dim].

    A nested model is worth training where its prefixes beat, on the same vectors, random
    dimensions (the same drawing for all sizes, nested) and the principal components of the
    documents about the origin (`Rotation`), neither of which takes training. Without ids, rows are
    meant. Intervals are 95 % bootstrap ones over queries, those of ratios paired.
    """
    asked, given = as_float32(queries, "queries"), as_float32(documents, "documents")
    width = given.shape[1]
    sizes = sorted({check_dims(size, width) for size in dims})
    judged = list(range(len(asked))) if query_ids is None else list(query_ids)
    k = min(k, len(given))
    names = np.arange(len(given)) if document_ids is None else np.asarray(document_ids)
    nobody = np.full(len(asked), -1)  # no query is one of the documents
    rng = np.random.default_rng(seed)

    def ndcg(pair: _Pair, size: int) -> Float64[np.ndarray, " q"]:
        some, all_ = (normalize(side[:, :size]) for side in pair)
        return ndcg_at_k(names[exact_top_k(some, all_, nobody, k)], judged, qrels, k)

    forms = dict(_forms(asked, given, rng))
    full = ndcg(forms["prefix"], width)
    scores = []
    for size in sizes:
        per_query = {name: ndcg(pair, size) for name, pair in forms.items()}
        scores.append(PrefixScores(
            size,
            {name: bootstrap_mean(values, rng) for name, values in per_query.items()},
            {name: _share(values, full, rng) for name, values in per_query.items()},
        ))  # fmt: skip
    return scores


def _share(
    values: Float64[np.ndarray, " q"], full: Float64[np.ndarray, " q"], rng: np.random.Generator
) -> Estimate:
    if full.any():
        return bootstrap_ratio(values, full, rng)
    # An untrained model may find nothing; its evaluation is not to stop the training.
    return Estimate(math.nan, math.nan, math.nan, len(full))


_Pair = tuple[Float32[np.ndarray, "q dim"], Float32[np.ndarray, "n dim"]]


def _forms(
    queries: Float32[np.ndarray, "q dim"],
    documents: Float32[np.ndarray, "n dim"],
    rng: np.random.Generator,
) -> Iterator[tuple[str, _Pair]]:
    """The same vectors with their dimensions in the model's, a random, and the PCA's order."""
    yield "prefix", (queries, documents)
    order = rng.permutation(documents.shape[1])
    yield "random", (queries[:, order], documents[:, order])
    rotation = Rotation.fit(documents)
    yield "pca", (rotation.transform(queries), rotation.transform(documents))
