"""Distractors: documents that do not answer a query, and how many of them beat those that do."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import special

from nestvec.auditing.measures.margins import RESOLUTION, pair_scores, per_query
from nestvec.auditing.ranking.score_blocks import Scores, best_of, count_reaching, score_blocks
from nestvec.auditing.types import Encoded, Judged
from nestvec.errors import InputError
from nestvec.kernels.reference import float32_up
from nestvec.shapes import Float64, Int64

TAIL_SHARE = 0.05
TAIL_MOST = 256
TAIL_LEAST = 10
"""The best distractors of a query that its tail is fitted to: this share, within these numbers."""

_LOWEST = np.finfo(np.float32).min
"""All but −∞ reach it."""


@dataclass(frozen=True)
class Distractors:
    """How each judged document stands among its query's distractors, under one encoding.

    A distractor is a document that is neither judged for the query nor the query's own row. It
    beats a judged document if it scores at least as well: ties count against.
    """

    queries: Int64[np.ndarray, " j"]
    """The query row of each judgement, rising."""
    counts: Int64[np.ndarray, " j"]
    """Distractors of its query."""
    beaten_by: Int64[np.ndarray, " j"]
    tail: int
    """Distractors per query that lie above its threshold; 0 if there are too few for a tail."""
    excess: Float64[np.ndarray, " j"]
    """The judged document's score − the threshold of its query."""
    scales: Float64[np.ndarray, " j"]
    """The mean of what the query's tail exceeds its threshold by."""
    spreads: Float64[np.ndarray, " j"]
    """The coefficient of L-variation of the same: it depends on the tail's shape alone."""

    @property
    def least(self) -> int:
        """Distractors that every query has."""
        return int(self.counts.min())

    @property
    def shape(self) -> float:
        """ξ of the generalised Pareto tail that all queries share: below 0 the tail has an end."""
        return tail_shape(per_query(self.spreads, self.queries))

    def recall_among(self, m: int, k: int) -> Float64[np.ndarray, " q"]:
        """Expected recall@k with `m` random ones of the distractors: exact, nothing is drawn.

        A judged document is found if fewer than `k` of the `m` beat it: with b of n that do, the
        chance is Σ_{j<k} C(b, j)·C(n − b, m − j) / C(n, m). Per query the mean over its judged
        documents. Good to 1e-7 for a million distractors. `m` is at most `least`.
        """
        return per_query(_found_among(self.beaten_by, self.counts, m, k), self.queries)

    def recall_beyond(self, m: int, k: int, shape: float) -> Float64[np.ndarray, " q"]:
        """Modelled recall@k with `m` fresh distractors like those at hand, at least `k` of them.

        P(Bin(m, p) < k), where p is the chance that one distractor beats the judged document: the
        share that do, or, above the threshold of the query, a generalised Pareto tail.
        """
        return per_query(special.bdtr(k - 1, m, self._chances(shape)), self.queries)

    def recall_bound(self, m: int, k: int) -> Float64[np.ndarray, " q"]:
        """As `recall_beyond` without a model: p is its 95 % upper bound (Clopper & Pearson)."""
        if m < k:
            return np.ones(len(np.unique(self.queries)))
        return per_query(special.bdtr(k - 1, m, self._highest), self.queries)

    @cached_property
    def _highest(self) -> Float64[np.ndarray, " j"]:
        """The 95 % upper bound of the chance that one distractor beats the judged document."""
        spared = np.maximum(self.counts - self.beaten_by, 1)
        bound = special.betaincinv(self.beaten_by + 1.0, spared, 0.95)
        return np.where(self.beaten_by < self.counts, bound, 1.0)

    def _chances(self, shape: float) -> Float64[np.ndarray, " j"]:
        scale = np.where(self.scales > 0, self.scales, 1) * (1 - shape)
        steps = np.maximum(self.excess, 0) / scale
        # (1 + ξz)^(−1/ξ), whose limit at ξ = 0 is exp(−z); beyond the end of the tail it is 0.
        if abs(shape) < 1e-6:
            above = np.exp(-steps)
        else:
            above = np.maximum(1 + shape * steps, 0) ** (-1 / shape)
        share = self.beaten_by / self.counts
        return np.asarray(np.where(self.excess > 0, self.tail / self.counts * above, share))


def tail_shape(spreads: Float64[np.ndarray, " q"]) -> float:
    """ξ = 2 − 1/τ of a generalised Pareto tail, by L-moments (Hosking & Wallis, 1987).

    τ is the mean over queries, kept within 0.2 to 0.9: scores that tie could bring it to 0 or 1,
    where there is no such tail.
    """
    return 2 - 1 / float(np.clip(spreads.mean(), 0.2, 0.9))


@dataclass(frozen=True)
class Census:
    """`Distractors` from blocks of scores, as they come by: the judged queries in rising order."""

    encoded: Encoded
    judged: Judged
    own: Int64[np.ndarray, " q"]
    tail: int
    parts: list[tuple[np.ndarray, ...]] = field(default_factory=list)

    @classmethod
    def of(cls, encoded: Encoded, judged: Judged, own: Int64[np.ndarray, " q"]) -> "Census":
        """None taken yet; `InputError` where a query may have no distractor."""
        least = fewest_distractors(encoded, judged)
        if least < 1:
            raise InputError(
                f"{len(encoded.documents)} documents leave the query with most relevant ones no "
                "distractor; give a larger corpus"
            )
        tail = min(TAIL_MOST, int(TAIL_SHARE * least))
        return cls(encoded, judged, own, tail if tail >= TAIL_LEAST else 0)

    def take(self, queries: Int64[np.ndarray, " block"], scores: Scores) -> None:
        """The scores of some queries, −∞ for their own rows and then for their judged documents."""
        ends = np.searchsorted(self.judged.queries, [queries[0], queries[-1] + 1])
        asked, documents = self.judged.queries[slice(*ends)], self.judged.documents[slice(*ends)]
        if not len(asked):
            return
        at = np.searchsorted(queries, asked), documents
        # Not read off the scores: a judged document may be the query's own row.
        positives = pair_scores(self.encoded, asked, documents)
        scores[at] = -np.inf
        lengths = np.linalg.norm(self.encoded.queries[asked], axis=1)
        lengths = lengths * np.linalg.norm(self.encoded.documents[documents], axis=1)
        # A copy of a document may differ from it in the last bits, as dim products were added up.
        reached = positives - RESOLUTION * np.sqrt(self.encoded.documents.shape[1]) * lengths
        beaten_by = count_reaching(scores, at[0], float32_up(reached))
        counts = count_reaching(scores, at[0], np.full(len(asked), _LOWEST))
        some, place = np.unique(at[0], return_inverse=True)
        of_tail = _tails(scores if len(some) == len(scores) else scores[some], self.tail)
        thresholds, scales, spreads = (part[place] for part in of_tail)
        self.parts.append((counts, beaten_by, positives - thresholds, scales, spreads))

    def distractors(self) -> Distractors:
        """Of all that was taken."""
        parts = zip(*self.parts, strict=True)
        counts, beaten_by, *of_tail = (np.concatenate(part) for part in parts)
        return Distractors(self.judged.queries, counts, beaten_by, self.tail, *of_tail)


def distractors(encoded: Encoded, judged: Judged, own: Int64[np.ndarray, " q"]) -> Distractors:
    """All documents scored for every query, in blocks; `own[i]` (−1: none) is left out."""
    census = Census.of(encoded, judged, own)
    for queries, scores in score_blocks(encoded, own):
        census.take(queries, scores)
    return census.distractors()


def fewest_distractors(encoded: Encoded, judged: Judged) -> int:
    """Of any query, if it is a document itself; below 1 where there may be none."""
    most = int(np.unique(judged.queries, return_counts=True)[1].max())
    return len(encoded.documents) - most - 1


def _tails(scores: Scores, tail: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Threshold, mean excess and L-variation of the best `tail` scores of each row.

    Without a tail, or where its scores are all equal, it is taken as exponential: τ = ½.
    """
    if tail == 0:
        q = len(scores)
        return np.full(q, np.inf), np.ones(q), np.full(q, 0.5)
    best = best_of(scores, tail + 1)[1].astype(np.float64)[:, ::-1]
    excess = best[:, 1:] - best[:, :1]
    mean = excess.mean(axis=1)
    second = 2 * (excess * np.linspace(0, 1, tail)).mean(axis=1) - mean
    spread = np.divide(second, mean, out=np.full_like(mean, 0.5), where=mean > 0)
    return best[:, 0], mean, spread


def _found_among(
    beaten_by: Int64[np.ndarray, " j"], counts: Int64[np.ndarray, " j"], m: int, k: int
) -> Float64[np.ndarray, " j"]:
    chance = np.zeros(len(counts))
    for j in range(min(k, m + 1)):
        possible = (beaten_by >= j) & (counts - beaten_by >= m - j)
        b, n = beaten_by[possible], counts[possible]
        log = _log_choose(b, j) + _log_choose(n - b, m - j) - _log_choose(n, m)
        chance[possible] += np.exp(log)
    return np.minimum(chance, 1)


def _log_choose(n: Int64[np.ndarray, " j"], r: int) -> Float64[np.ndarray, " j"]:
    return np.asarray(special.gammaln(n + 1) - special.gammaln(r + 1) - special.gammaln(n - r + 1))
