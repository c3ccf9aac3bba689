"""Poisoning: how often documents planted by an attacker reach the first 10.

The attacker knows queries like those to come and plants a few documents in their midst: the centres
of clusters of them (corpus poisoning, Zhong et al., 2023, in vectors alone).
"""

import warnings
from typing import NamedTuple

import numpy as np
from scipy.cluster.vq import kmeans2

from nestvec.auditing.measures.paired import Paired
from nestvec.auditing.types import CheckResult, EmbeddingPair
from nestvec.errors import InputError
from nestvec.shapes import Bool, Float32, Int64
from nestvec.statistics import bootstrap_mean, proportion
from nestvec.vectors import normalize

PLANTED = 10
"""Planted documents: few beside any corpus, as in an attack."""


class PlantedDocuments(NamedTuple):
    """Planted documents, and the queries that test them."""

    vectors: Float32[np.ndarray, "plants dim"]
    """At full width and of the documents' median length; to be encoded as documents are."""
    held_out: Int64[np.ndarray, " h"]
    """Rows of the queries that the attacker does not know, rising."""


def make_planted(
    full: EmbeddingPair, rng: np.random.Generator, count: int = PLANTED
) -> PlantedDocuments:
    """Plant `count` centres of k-means over a random half of the queries, at full width."""
    half = len(full.queries) // 2
    if not 1 <= count <= half:
        raise InputError(
            f"{count} documents to plant among {half} queries, half of all; "
            "use 1 <= count <= that half"
        )
    order = rng.permutation(len(full.queries))
    known_queries = full.queries[order[:half]]
    with warnings.catch_warnings():
        # A cluster that is left without queries keeps its centre: it is planted all the same.
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        centres, _ = kmeans2(
            known_queries, known_queries[rng.choice(half, count, replace=False)], minit="matrix"
        )
    length = np.median(np.linalg.norm(full.documents, axis=1))
    vectors = np.asarray(normalize(centres) * length, dtype=np.float32)
    return PlantedDocuments(vectors, np.sort(order[half:]).astype(np.int64))


def reaches_top_k(
    queries: Float32[np.ndarray, "h width"],
    planted: Float32[np.ndarray, "plants width"],
    kth_scores: Float32[np.ndarray, " h"],
) -> Bool[np.ndarray, "h plants"]:
    """Tell whether each planted document is among the first k of each query, if it is the only one.

    `kth_scores` are those of the k-th document before planting. Planted documents have the larger
    rows and so lose ties.
    """
    return np.asarray(queries @ planted.T > kth_scores[:, None])


def poisoning(successes: Paired, rng: np.random.Generator) -> CheckResult:
    """Estimate `attack_success` under the variant, and `attack_gain` over that under full vectors.

    `successes` is 1 for each held-out query that a planted document reached, else 0. A gain
    above 0: the variant is easier to poison. Details, as "poisoning": the full vectors' success.
    """
    full_success, variant_success = (proportion(int(side.sum()), len(side)) for side in successes)
    gain = bootstrap_mean(successes.variant - successes.full, rng)
    metrics = {"attack_success": variant_success, "attack_gain": gain}
    return CheckResult(metrics, {"poisoning": {"full": full_success._asdict()}})
