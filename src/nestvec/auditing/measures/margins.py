"""Triplets scored: by how much positives beat their negatives, per triplet, group and query."""

from typing import NamedTuple

import numpy as np

from nestvec.auditing.types import Encoded, Triplets
from nestvec.errors import InputError
from nestvec.parallel import each_block
from nestvec.shapes import Float32, Float64, Int64

RESOLUTION = float(np.finfo(np.float32).eps)
"""Scores closer than this share of |query| · |document| are ties: float32 rows say no more."""

BLOCK_PAIRS = 256
"""Scored at a time: they stay in the cache."""
RANDOM_PAIRS = 10_000
"""Query-document pairs whose scores say how wide scores spread."""


class Groups(NamedTuple):
    """The triplets that share a query and a positive are one group."""

    of: Int64[np.ndarray, " t"]
    """The group of each triplet."""
    queries: Int64[np.ndarray, " groups"]
    """The query row of each group."""
    sizes: Int64[np.ndarray, " groups"]


def groups_of(triplets: Triplets) -> Groups:
    """Groups by rising query and positive. Raises `InputError` for no or lopsided triplets."""
    sizes = {len(triplets.queries), len(triplets.positives), len(triplets.negatives)}
    if sizes != {len(triplets.kinds)} or not triplets.kinds:
        raise InputError(
            f"triplets have {len(triplets.kinds)} kinds and {sorted(sizes)} rows; "
            "give one query, positive, negative and kind each, and at least one of them"
        )
    pairs = np.stack([triplets.queries, triplets.positives], axis=1)
    groups, of, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    return Groups(of.reshape(-1), groups[:, 0], counts)


def triplets_of_kind(triplets: Triplets, kind: str) -> Int64[np.ndarray, " m"]:
    """The rows that are of this kind."""
    return np.flatnonzero(np.array(triplets.kinds) == kind)


def take(triplets: Triplets, rows: Int64[np.ndarray, " m"]) -> Triplets:
    """The triplets of these rows, in this order."""
    return Triplets(
        triplets.queries[rows],
        triplets.positives[rows],
        triplets.negatives[rows],
        tuple(triplets.kinds[row] for row in rows),
    )


def triplet_margins(encoded: Encoded, triplets: Triplets) -> Float64[np.ndarray, " t"]:
    """s⁺ − s⁻ in float64, and 0 where they tie: codes tie often, and rounding must not decide."""
    query_lengths, lengths = _lengths(encoded.queries), _lengths(encoded.documents)
    longer = np.maximum(lengths[triplets.positives], lengths[triplets.negatives])
    positive = pair_scores(encoded, triplets.queries, triplets.positives)
    margins = positive - pair_scores(encoded, triplets.queries, triplets.negatives)
    is_tie = np.abs(margins) <= RESOLUTION * query_lengths[triplets.queries] * longer
    return np.where(is_tie, 0.0, margins)


def pair_scores(
    encoded: Encoded, queries: Int64[np.ndarray, " t"], documents: Int64[np.ndarray, " t"]
) -> Float64[np.ndarray, " t"]:
    """The inner product of each query row with its document row, summed in float64."""
    scores = np.empty(len(queries))

    def run(block: slice) -> None:
        left = encoded.queries[queries[block]].astype(np.float64)
        scores[block] = np.einsum("td,td->t", left, encoded.documents[documents[block]])

    each_block(run, len(queries), BLOCK_PAIRS)
    return scores


def score_spread(encoded: Encoded, rng: np.random.Generator) -> float:
    """The standard deviation of scores of random query-document pairs; 1 if all are equal."""
    queries = rng.integers(len(encoded.queries), size=RANDOM_PAIRS)
    documents = rng.integers(len(encoded.documents), size=RANDOM_PAIRS)
    return float(pair_scores(encoded, queries, documents).std()) or 1.0


def wins(margins: Float64[np.ndarray, " t"]) -> Float64[np.ndarray, " t"]:
    """1 where the positive wins, ½ where it ties, 0 where it loses."""
    return np.asarray((np.sign(margins) + 1) / 2)


def hardest(margins: Float64[np.ndarray, " t"], groups: Groups) -> Float64[np.ndarray, " groups"]:
    """s⁺ − max s⁻ of each group."""
    least = np.full(len(groups.sizes), np.inf)
    np.minimum.at(least, groups.of, margins)
    return least


def per_query(
    values: Float64[np.ndarray, " t"], queries: Int64[np.ndarray, " t"]
) -> Float64[np.ndarray, " q"]:
    """The mean of each query's values, by rising query row: every query weighs the same."""
    rows, of = np.unique(queries, return_inverse=True)
    return np.bincount(of, values, len(rows)) / np.bincount(of, minlength=len(rows))


def _lengths(vectors: Float32[np.ndarray, "n dim"]) -> Float64[np.ndarray, " n"]:
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", vectors, vectors)), dtype=np.float64)
