"""Distractors: documents that are not relevant to a query, and how many beat a relevant one."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import special

from nestvec.auditing.measures.margins import RESOLUTION, pair_scores, per_query
from nestvec.auditing.types import EmbeddingPair, RelevanceJudgments
from nestvec.errors import InputError
from nestvec.exact_top_k import Scores, count_reaching, score_blocks, top_k_of_scores
from nestvec.kernels.reference import float32_up
from nestvec.shapes import Float64, Int64

TAIL_SHARE = 0.05
MAX_TAIL = 256
MIN_TAIL = 10
"""Best distractors of a query that its tail is fitted to: this share, within these numbers."""

_LOWEST = np.finfo(np.float32).min
"""All but −∞ reach it."""


@dataclass(frozen=True)
class Distractors:
    """Wins of the distractors over each relevant document, under one encoding.

    A distractor is a document that is neither judged relevant to the query nor its self-match. It
    wins over a relevant document if it scores at least as well: ties count against the document.
    """

    queries: Int64[np.ndarray, " j"]
    """Query row of each judgment, rising."""
    counts: Int64[np.ndarray, " j"]
    """Number of distractors of its query."""
    wins_over_positive: Int64[np.ndarray, " j"]
    """Number of them that score at least as well as the relevant document."""
    tail: int
    """Distractors per query above its threshold; 0 if there are too few for a tail."""
    excess: Float64[np.ndarray, " j"]
    """Score of the relevant document − threshold of its query."""
    scales: Float64[np.ndarray, " j"]
    """Mean excess of the query's tail over its threshold."""
    spreads: Float64[np.ndarray, " j"]
    """Coefficient of L-variation of the excess, which depends on the tail's shape alone."""

    @property
    def min_count(self) -> int:
        """Number of distractors that every query has."""
        return int(self.counts.min())

    @property
    def shape(self) -> float:
        """ξ of the generalised Pareto tail that all queries share: below 0 the tail has an end."""
        return tail_shape(per_query(self.spreads, self.queries))

    def recall_among(self, m: int, k: int) -> Float64[np.ndarray, " q"]:
        """Compute the expected recall@k among `m` random ones of the distractors, without sampling.

        A relevant document is a hit if fewer than `k` of the `m` beat it: with b of n that do, its
        probability is Σ_{j<k} C(b, j)·C(n − b, m − j) / C(n, m). Per query the mean over relevant
        documents. Exact to 1e-7 for a million distractors. `m` is at most `min_count`.
        """
        return per_query(_recall_among(self.wins_over_positive, self.counts, m, k), self.queries)

    def recall_beyond(self, m: int, k: int, shape: float) -> Float64[np.ndarray, " q"]:
        """Model recall@k among `m` new distractors like the present ones, at least `k` of them.

        P(Bin(m, p) < k), where p is the probability that a distractor beats the relevant document:
        the share that do, or, above the threshold of the query, a generalised Pareto tail.
        """
        return per_query(special.bdtr(k - 1, m, self._win_probabilities(shape)), self.queries)

    def recall_bound(self, m: int, k: int) -> Float64[np.ndarray, " q"]:
        """Bound `recall_beyond` without a model: p is its 95 % upper bound (Clopper & Pearson)."""
        if m < k:
            return np.ones(len(np.unique(self.queries)))
        return per_query(special.bdtr(k - 1, m, self._win_probability_bounds), self.queries)

    @cached_property
    def _win_probability_bounds(self) -> Float64[np.ndarray, " j"]:
        """95 % upper bounds of the probability that a distractor beats the relevant document."""
        losses = np.maximum(self.counts - self.wins_over_positive, 1)
        bound = special.betaincinv(self.wins_over_positive + 1.0, losses, 0.95)
        return np.where(self.wins_over_positive < self.counts, bound, 1.0)

    def _win_probabilities(self, shape: float) -> Float64[np.ndarray, " j"]:
        scale = np.where(self.scales > 0, self.scales, 1) * (1 - shape)
        steps = np.maximum(self.excess, 0) / scale
        # (1 + ξz)^(−1/ξ), whose limit at ξ = 0 is exp(−z); beyond the end of the tail it is 0.
        if abs(shape) < 1e-6:
            survival = np.exp(-steps)
        else:
            survival = np.maximum(1 + shape * steps, 0) ** (-1 / shape)
        share = self.wins_over_positive / self.counts
        return np.asarray(np.where(self.excess > 0, self.tail / self.counts * survival, share))


def tail_shape(spreads: Float64[np.ndarray, " q"]) -> float:
    """ξ = 2 − 1/τ of a generalised Pareto tail, by L-moments (Hosking & Wallis, 1987).

    τ is the mean over queries, clipped to 0.2 … 0.9: tied scores could bring it to 0 or 1, where
    there is no such tail.
    """
    return 2 - 1 / float(np.clip(spreads.mean(), 0.2, 0.9))


@dataclass(frozen=True)
class ScoreTally:
    """Collector of `Distractors` from blocks of scores, whose queries come by rising row."""

    embeddings: EmbeddingPair
    judgments: RelevanceJudgments
    self_match: Int64[np.ndarray, " q"]
    tail: int
    blocks: list[tuple[np.ndarray, ...]] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        embeddings: EmbeddingPair,
        judgments: RelevanceJudgments,
        self_match: Int64[np.ndarray, " q"],
    ) -> "ScoreTally":
        """Begin a tally; `InputError` where a query may have no distractor."""
        min_count = min_distractors(embeddings, judgments)
        if min_count < 1:
            raise InputError(
                f"{len(embeddings.documents)} documents leave the query with most relevant ones no "
                "distractor; pass a larger corpus"
            )
        tail = min(MAX_TAIL, int(TAIL_SHARE * min_count))
        return cls(embeddings, judgments, self_match, tail if tail >= MIN_TAIL else 0)

    def add(self, queries: Int64[np.ndarray, " block"], scores: Scores) -> None:
        """Count a block of scores, in which relevant documents are overwritten by −∞."""
        ends = np.searchsorted(self.judgments.queries, [queries[0], queries[-1] + 1])
        query_rows = self.judgments.queries[slice(*ends)]
        documents = self.judgments.documents[slice(*ends)]
        if not len(query_rows):
            return
        places = np.searchsorted(queries, query_rows)
        # Not read off the scores: a relevant document may be the query's self-match.
        positives = pair_scores(self.embeddings, query_rows, documents)
        scores[places, documents] = -np.inf
        lengths = np.linalg.norm(self.embeddings.queries[query_rows], axis=1)
        lengths = lengths * np.linalg.norm(self.embeddings.documents[documents], axis=1)
        # A copy of a document may differ from it in the last bits, as dim products were added up.
        bars = positives - RESOLUTION * np.sqrt(self.embeddings.documents.shape[1]) * lengths
        wins = count_reaching(scores, places, float32_up(bars))
        counts = count_reaching(scores, places, np.full(len(query_rows), _LOWEST))
        query_places, judgment_places = np.unique(places, return_inverse=True)
        is_every_query = len(query_places) == len(scores)
        tails = _tails(scores if is_every_query else scores[query_places], self.tail)
        thresholds, scales, spreads = (column[judgment_places] for column in tails)
        self.blocks.append((counts, wins, positives - thresholds, scales, spreads))

    def distractors(self) -> Distractors:
        """Concatenate the blocks to `Distractors`."""
        columns = (np.concatenate(column) for column in zip(*self.blocks, strict=True))
        counts, wins, excess, scales, spreads = columns
        return Distractors(self.judgments.queries, counts, wins, self.tail, excess, scales, spreads)


def count_distractors(
    embeddings: EmbeddingPair,
    judgments: RelevanceJudgments,
    self_match: Int64[np.ndarray, " q"],
) -> Distractors:
    """Score all documents, and count the distractors that beat each relevant document."""
    tally = ScoreTally.of(embeddings, judgments, self_match)
    blocks = score_blocks(embeddings.queries, embeddings.documents, self_match)
    for queries, scores in blocks:
        tally.add(queries, scores)
    return tally.distractors()


def min_distractors(embeddings: EmbeddingPair, judgments: RelevanceJudgments) -> int:
    """Compute the number of distractors that every query has at least; below 1: maybe none."""
    max_relevant = int(np.unique(judgments.queries, return_counts=True)[1].max())
    return len(embeddings.documents) - max_relevant - 1


def _tails(scores: Scores, tail: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute threshold, mean excess and L-variation of the best `tail` scores of each row.

    Without a tail, or where its scores are all equal, it counts as exponential: τ = ½.
    """
    if tail == 0:
        q = len(scores)
        return np.full(q, np.inf), np.ones(q), np.full(q, 0.5)
    best = top_k_of_scores(scores, tail + 1)[1].astype(np.float64)[:, ::-1]
    excess = best[:, 1:] - best[:, :1]
    mean = excess.mean(axis=1)
    second_moment = 2 * (excess * np.linspace(0, 1, tail)).mean(axis=1) - mean
    spread = np.divide(second_moment, mean, out=np.full_like(mean, 0.5), where=mean > 0)
    return best[:, 0], mean, spread


def _recall_among(
    wins: Int64[np.ndarray, " j"], counts: Int64[np.ndarray, " j"], m: int, k: int
) -> Float64[np.ndarray, " j"]:
    probability = np.zeros(len(counts))
    for j in range(min(k, m + 1)):
        possible = (wins >= j) & (counts - wins >= m - j)
        b, n = wins[possible], counts[possible]
        log = _log_choose(b, j) + _log_choose(n - b, m - j) - _log_choose(n, m)
        probability[possible] += np.exp(log)
    return np.minimum(probability, 1)


def _log_choose(n: Int64[np.ndarray, " j"], r: int) -> Float64[np.ndarray, " j"]:
    return np.asarray(special.gammaln(n + 1) - special.gammaln(r + 1) - special.gammaln(n - r + 1))
