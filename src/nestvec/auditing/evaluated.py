"""One variant, made: its vectors, what it answers by them, and what that is worth."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nestvec.auditing.baseline import Exact
from nestvec.auditing.compression.compressor import Transform
from nestvec.auditing.measures.agreement import agreement
from nestvec.auditing.measures.distractors import Distractors
from nestvec.auditing.measures.paired import Paired
from nestvec.auditing.measures.relevance import NDCG, PerQuery, relevance_values
from nestvec.auditing.ranking.full_ranking import Ranked, cut, rank, rescore
from nestvec.auditing.ranking.scorers import ByShortlist, ByVectors, Scorer
from nestvec.auditing.types import Encoded, K, Ranking, Variant
from nestvec.auditing.verdict import Claim
from nestvec.shapes import Float32, Float64, Int64
from nestvec.statistics import bootstrap_ratio, lower_bound_of_ratio

OVERLAP = f"overlap_with_ties@{K}"


@dataclass(frozen=True)
class Kept:
    """What a verdict is about, per query asked: nDCG@10, or the overlap without judgements."""

    name: str
    before: Float64[np.ndarray, " asked"]
    after: Float64[np.ndarray, " asked"]
    limit: float

    @property
    def values(self) -> Paired:
        """Both, as they are compared."""
        return Paired(self.before, self.after)

    def claim(
        self,
        confidence: float,
        groups: Int64[np.ndarray, " asked"] | None,
        rng: np.random.Generator,
    ) -> tuple[Claim, ...]:
        """That enough is kept, with `confidence`; nothing where there is nothing to keep."""
        if not self.before.any():
            return ()
        sides = self.after, self.before
        estimate = bootstrap_ratio(*sides, rng, groups=groups)
        low = lower_bound_of_ratio(*sides, rng, confidence, groups=groups)
        return (Claim(self.name, estimate._replace(low=low), self.limit),)


@dataclass(frozen=True)
class Made:
    """A variant beside the full vectors; `transform` says how it was made (None: elsewhere)."""

    exact: Exact
    variant: Variant
    transform: Transform | None
    encoded: Encoded
    found: Ranked
    """By its vectors, deep enough to be rescored; `depths` are of the full vectors' first ten."""
    distractors: Distractors | None
    """What stands against the judged documents by its vectors; None as of the full vectors."""

    @cached_property
    def ranking(self) -> Ranking:
        """What is answered: `found`, rescored if the variant is."""
        task, count = self.exact.task, self._count
        ranking = self.found.ranking
        return cut(rescore(task.full, ranking, count) if count else ranking, task.depth)

    @property
    def shortlist(self) -> Ranking | None:
        """What is rescored, in the order and by the scores of the variant's vectors."""
        return cut(self.found.ranking, self._count) if self._count else None

    @property
    def scorers(self) -> tuple[Scorer, Scorer]:
        """What tells documents of the corpus apart: the full vectors, and the variant.

        Where it rescores a shortlist, the full vectors answer from their own one of that length:
        what they would not find either is not lost by making vectors smaller.
        """
        full = self.exact.task.full
        if self.shortlist is None:
            return ByVectors(full), ByVectors(self.encoded)
        own = self.exact.shortlist(self._count)
        return ByShortlist(full, own), ByShortlist(full, self.shortlist.rows)

    @cached_property
    def agreed(self) -> PerQuery:
        """How far every query's answers agree with the full vectors'."""
        task = self.exact.task
        return agreement(task.full, self.exact.ranking, self.ranking, task.unit)

    @cached_property
    def relevance(self) -> PerQuery | None:
        """What the answers are worth to judged queries; None without judgements."""
        judged = self.exact.task.judged
        return None if judged is None else relevance_values(self.ranking.rows, judged)

    @cached_property
    def kept(self) -> Kept:
        """What the verdict is about."""
        limits, full, found = self.exact.task.thresholds, self.exact.relevance, self.relevance
        if full is None or found is None:
            after = self.agreed[OVERLAP]
            return Kept(OVERLAP, np.ones_like(after), after, limits.overlap)
        return Kept(f"{NDCG}_retention", full[NDCG], found[NDCG], limits.retention)

    def answers(
        self, queries: Float32[np.ndarray, "some dim"], own: Int64[np.ndarray, " some"]
    ) -> Int64[np.ndarray, "some k"]:
        """The first ten for other queries, given at full width; rescored if the variant is.

        Only of a variant whose transform is known.
        """
        assert self.transform is not None
        asked = Encoded(self.transform.queries(queries), self.encoded.documents)
        found = rank(asked, max(K, self._count), own).ranking
        if self._count:
            found = rescore(Encoded(queries, self.exact.task.full.documents), found, self._count)
        return found.rows[:, :K]

    @property
    def _count(self) -> int:
        return min(self.variant.rescore, len(self.exact.task.full.documents) - 1)
