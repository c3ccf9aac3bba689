"""The corpus: what becomes of answers as it grows, and as somebody plants documents in it."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from nestvec.auditing.baseline import Exact
from nestvec.auditing.evaluated import Made
from nestvec.auditing.measures.distractors import Distractors
from nestvec.auditing.measures.growth import corpus_growth
from nestvec.auditing.measures.paired import Paired
from nestvec.auditing.measures.poisoning import PLANTED, Plants, beaten, plant, poisoning
from nestvec.auditing.seeding import generator
from nestvec.auditing.types import Findings, K
from nestvec.shapes import Bool, Float32, Float64


@dataclass(frozen=True)
class Growth:
    """Judged documents among fewer and more others."""

    name: ClassVar[str] = "growth"
    exact: Exact
    of_full: Distractors

    @classmethod
    def of(cls, exact: Exact) -> "Growth | None":
        """Where there are judgements, and others beside the judged documents."""
        found = exact.distractors
        return None if found is None else cls(exact, found)

    def findings(self, made: Made, rng: np.random.Generator) -> Iterable[Findings]:
        """Recall@10; of a rescored variant, how many judged documents reach the shortlist.

        What the shortlist lets through is ordered as by full vectors: among m documents the
        recall of the two together is at most the smaller of both, and at least their sum − 1.
        """
        depth = made.variant.rescore or K
        if made.distractors is None or depth > self.of_full.least:
            return
        found = corpus_growth(self.of_full, made.distractors, depth, rng)
        yield _of_shortlist(found) if made.variant.rescore else found


@dataclass(frozen=True)
class Poisoning:
    """Documents planted in the midst of half of the queries: do they reach the others?"""

    name: ClassVar[str] = "poisoning"
    exact: Exact

    @classmethod
    def of(cls, exact: Exact) -> "Poisoning | None":
        """Where there are queries enough to learn from."""
        return cls(exact) if len(exact.task.full.queries) >= 2 * PLANTED else None

    def findings(self, made: Made, rng: np.random.Generator) -> Iterable[Findings]:
        """Of vectors that were made here: plants must be made alike."""
        if made.transform is None:
            return
        held_out, planted = self._plants.held_out, self._plants.vectors
        coded = made.transform.documents(planted)
        listed = made.found.ranking if made.shortlist is None else made.shortlist
        place = K - 1 if made.shortlist is None else -1
        success = beaten(made.encoded.queries[held_out], coded, listed.scores[held_out, place])
        if made.shortlist is not None:
            # Through the shortlist, and then to the first ten.
            success &= self._beaten_by_full(made.ranking.scores[held_out, K - 1])
        yield poisoning(Paired(self._of_full, _any(success)), rng)

    @cached_property
    def _plants(self) -> Plants:
        return plant(self.exact.task.full, generator(self.exact.task.seed, "poison"))

    @cached_property
    def _of_full(self) -> Float64[np.ndarray, " h"]:
        kth = self.exact.ranking.scores[self._plants.held_out, K - 1]
        return _any(self._beaten_by_full(kth))

    def _beaten_by_full(self, kth: Float32[np.ndarray, " h"]) -> Bool[np.ndarray, "h plants"]:
        queries = self.exact.task.full.queries[self._plants.held_out]
        return beaten(queries, self._plants.vectors, kth)


def _of_shortlist(found: Findings) -> Findings:
    return Findings(
        {f"shortlist_{name}": estimate for name, estimate in found.metrics.items()},
        {f"shortlist_{name}": details for name, details in found.details.items()},
    )


def _any(success: Bool[np.ndarray, "h plants"]) -> Float64[np.ndarray, " h"]:
    return np.asarray(success.any(axis=1), np.float64)
