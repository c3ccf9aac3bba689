"""Margins by which positives beat their negatives, per triplet, group and query."""

from typing import NamedTuple

import numpy as np

from nestvec.auditing.types import EmbeddingPair, Triplets
from nestvec.errors import InputError
from nestvec.parallel import map_blocks
from nestvec.shapes import Float32, Float64, Int64

RESOLUTION = float(np.finfo(np.float32).eps)
"""Scores closer than this share of |query| · |document| are ties: float32 rows say no more."""

BLOCK_PAIRS = 256
"""Pairs scored at a time: they stay in the cache."""
RANDOM_PAIRS = 10_000
"""Query-document pairs of which the standard deviation of scores is estimated."""


class Groups(NamedTuple):
    """Groups of triplets that share a query and a positive."""

    triplet_groups: Int64[np.ndarray, " t"]
    """The group of each triplet."""
    queries: Int64[np.ndarray, " groups"]
    """The query row of each group."""
    sizes: Int64[np.ndarray, " groups"]


def groups_of(triplets: Triplets) -> Groups:
    """Group triplets by rising query and positive; `InputError` for none or unequal columns."""
    sizes = {len(triplets.queries), len(triplets.positives), len(triplets.negatives)}
    if sizes != {len(triplets.kinds)} or not triplets.kinds:
        raise InputError(
            f"triplets have {len(triplets.kinds)} kinds and {sorted(sizes)} rows; "
            "pass one query, positive, negative and kind for each, and at least one triplet"
        )
    pairs = np.stack([triplets.queries, triplets.positives], axis=1)
    groups, triplet_groups, counts = np.unique(
        pairs, axis=0, return_inverse=True, return_counts=True
    )
    return Groups(triplet_groups.reshape(-1), groups[:, 0], counts)


def triplets_of_kind(triplets: Triplets, kind: str) -> Int64[np.ndarray, " m"]:
    """Rows of the triplets of a kind."""
    return np.flatnonzero(np.array(triplets.kinds) == kind)


def take(triplets: Triplets, rows: Int64[np.ndarray, " m"]) -> Triplets:
    """Select triplets by their rows, in this order."""
    return Triplets(
        triplets.queries[rows],
        triplets.positives[rows],
        triplets.negatives[rows],
        tuple(triplets.kinds[row] for row in rows),
    )


def triplet_margins(embeddings: EmbeddingPair, triplets: Triplets) -> Float64[np.ndarray, " t"]:
    """s⁺ − s⁻ in float64, and 0 where they tie: codes tie often, and rounding must not decide."""
    query_lengths, lengths = _lengths(embeddings.queries), _lengths(embeddings.documents)
    longer = np.maximum(lengths[triplets.positives], lengths[triplets.negatives])
    positive = pair_scores(embeddings, triplets.queries, triplets.positives)
    margins = positive - pair_scores(embeddings, triplets.queries, triplets.negatives)
    is_tie = np.abs(margins) <= RESOLUTION * query_lengths[triplets.queries] * longer
    return np.where(is_tie, 0.0, margins)


def pair_scores(
    embeddings: EmbeddingPair, queries: Int64[np.ndarray, " t"], documents: Int64[np.ndarray, " t"]
) -> Float64[np.ndarray, " t"]:
    """Inner products of query rows with document rows, summed in float64."""
    scores = np.empty(len(queries))

    def score_block(block: slice) -> None:
        query_rows = embeddings.queries[queries[block]].astype(np.float64)
        scores[block] = np.einsum("td,td->t", query_rows, embeddings.documents[documents[block]])

    map_blocks(score_block, len(queries), BLOCK_PAIRS)
    return scores


def random_score_std(embeddings: EmbeddingPair, rng: np.random.Generator) -> float:
    """Standard deviation of the scores of random query-document pairs; 1 if all are equal."""
    queries = rng.integers(len(embeddings.queries), size=RANDOM_PAIRS)
    documents = rng.integers(len(embeddings.documents), size=RANDOM_PAIRS)
    return float(pair_scores(embeddings, queries, documents).std()) or 1.0


def wins(margins: Float64[np.ndarray, " t"]) -> Float64[np.ndarray, " t"]:
    """1 where the positive wins, ½ where it ties, 0 where it loses."""
    return np.asarray((np.sign(margins) + 1) / 2)


def hardest(margins: Float64[np.ndarray, " t"], groups: Groups) -> Float64[np.ndarray, " groups"]:
    """s⁺ − max s⁻ of each group."""
    lowest = np.full(len(groups.sizes), np.inf)
    np.minimum.at(lowest, groups.triplet_groups, margins)
    return lowest


def per_query(
    values: Float64[np.ndarray, " t"], queries: Int64[np.ndarray, " t"]
) -> Float64[np.ndarray, " q"]:
    """Mean of each query's values, by rising query row: every query weighs the same."""
    rows, positions = np.unique(queries, return_inverse=True)
    return np.bincount(positions, values, len(rows)) / np.bincount(positions, minlength=len(rows))


def _lengths(vectors: Float32[np.ndarray, "n dim"]) -> Float64[np.ndarray, " n"]:
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", vectors, vectors)), dtype=np.float64)
