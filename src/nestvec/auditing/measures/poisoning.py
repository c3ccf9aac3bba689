"""Poisoning: how often documents planted by an attacker reach the first answers.

The attacker knows queries like those that will be asked and plants a few documents in their midst:
the centres of clusters of them (corpus poisoning, Zhong et al., 2023, in vectors alone).
"""

import warnings
from typing import NamedTuple

import numpy as np
from scipy.cluster.vq import kmeans2

from nestvec.auditing.measures.paired import Paired
from nestvec.auditing.types import Encoded, Findings
from nestvec.errors import InputError
from nestvec.shapes import Bool, Float32, Int64
from nestvec.statistics import bootstrap_mean, proportion
from nestvec.vectors import normalize

PLANTED = 10


class Plants(NamedTuple):
    """What is planted, and for whom."""

    vectors: Float32[np.ndarray, "plants dim"]
    """As long as a document is in the middle; to be encoded as documents are."""
    held_out: Int64[np.ndarray, " h"]
    """The queries that the attacker has not seen, rising."""


def plant(full: Encoded, rng: np.random.Generator, count: int = PLANTED) -> Plants:
    """`count` centres of k-means over a random half of the queries, at full width."""
    half = len(full.queries) // 2
    if not 1 <= count <= half:
        raise InputError(
            f"{count} documents to plant among {half} queries, half of all; "
            "use 1 <= count <= that half"
        )
    order = rng.permutation(len(full.queries))
    seen = full.queries[order[:half]]
    with warnings.catch_warnings():
        # A cluster that is left without queries keeps its centre: it is planted all the same.
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        centres, _ = kmeans2(seen, seen[rng.choice(half, count, replace=False)], minit="matrix")
    length = np.median(np.linalg.norm(full.documents, axis=1))
    vectors = np.asarray(normalize(centres) * length, dtype=np.float32)
    return Plants(vectors, np.sort(order[half:]).astype(np.int64))


def beaten(
    queries: Float32[np.ndarray, "h width"],
    planted: Float32[np.ndarray, "plants width"],
    kth_scores: Float32[np.ndarray, " h"],
) -> Bool[np.ndarray, "h plants"]:
    """Whether each plant is among the first k of each query, were it the only one.

    `kth_scores` are those of the k-th document without plants, which came later and so lose ties.
    """
    return np.asarray(queries @ planted.T > kth_scores[:, None])


def poisoning(successes: Paired, rng: np.random.Generator) -> Findings:
    """`attack_success` under the variant, and `attack_gain`, that minus the full vectors' own.

    `successes` is 1 for each held-out query that some plant reached, else 0. A gain above 0: the
    variant is easier to poison. Details, as "poisoning": the full vectors' success.
    """
    of_full, of_variant = (proportion(int(side.sum()), len(side)) for side in successes)
    gain = bootstrap_mean(successes.variant - successes.full, rng)
    metrics = {"attack_success": of_variant, "attack_gain": gain}
    return Findings(metrics, {"poisoning": {"full": of_full._asdict()}})
