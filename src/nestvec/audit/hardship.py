"""Hard queries, the same for all variants: strange ones, noisy ones, and planted documents."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nestvec.audit.exact import Exact, generator
from nestvec.audit.model import Encoded, Findings, K, Ranking
from nestvec.audit.paired import Paired
from nestvec.audit.poison import PLANTED, Plants, plant, poisoning, reached
from nestvec.audit.rank import rank
from nestvec.audit.relevance import ndcg_values
from nestvec.audit.stress import COSINES, noisy_queries, out_of_distribution, strangeness, stress
from nestvec.audit.transform import Transform
from nestvec.metrics import overlap
from nestvec.shapes import Float32, Float64, Int64

_SAMPLED_QUERIES = 300
"""So many get noise: rankings anew, three times."""
_LEAST_QUERIES = 20
"""Fewer are not cut in quarters."""


@dataclass(frozen=True)
class Hardship:
    """What is made hard, drawn once, and how the full vectors fare in it."""

    exact: Exact

    def of_slices(
        self, before: Float64[np.ndarray, " asked"], after: Float64[np.ndarray, " asked"],
        rng: np.random.Generator,
    ) -> list[Findings]:  # fmt: skip
        """The quarter of the queries that is farthest from the documents, beside the others."""
        if len(before) < _LEAST_QUERIES:
            return []
        return [out_of_distribution(Paired(before, after), self._distances, rng)]

    def of_noise(
        self,
        transform: Transform,
        documents: Float32[np.ndarray, "n dims"],
        found: Ranking,
        rng: np.random.Generator,
    ) -> list[Findings]:
        """Noise on the queries; `found` is what the variant answers to the clean ones."""
        parts = []
        answers = self._values(found.rows[self._rows, :K])
        clean = Paired(self._values(self._clean), answers)
        for cosine, noisy in self._noisy.items():
            encoded = Encoded(transform.queries(noisy), documents)
            stressed = Paired(self._full_values[cosine], self._values(self._answers(encoded)))
            parts.append(stress(f"noise_{cosine}", clean, stressed, rng))
        return parts

    def of_poison(
        self, transform: Transform, encoded: Encoded, found: Ranking, rng: np.random.Generator
    ) -> list[Findings]:
        """Documents planted in the midst of half of the queries: do they reach the others?"""
        if self._plants is None:
            return []
        held_out = self._plants.held_out
        planted = transform.documents(self._plants.vectors)
        kth = found.scores[held_out, K - 1]
        successes = reached(encoded.queries[held_out], planted, kth)
        return [poisoning(Paired(self._full_reached, successes), rng)]

    @cached_property
    def _picked(self) -> Int64[np.ndarray, " some"]:
        """Places among the queries asked."""
        order = generator(self.exact.task.seed, "noise").permutation(len(self.exact.asked))
        return np.asarray(np.sort(order[:_SAMPLED_QUERIES]), np.int64)

    @cached_property
    def _rows(self) -> Int64[np.ndarray, " some"]:
        return np.asarray(self.exact.asked[self._picked])

    @cached_property
    def _clean(self) -> Int64[np.ndarray, "some k"]:
        return self.exact.ranking.rows[self._rows, :K]

    @cached_property
    def _noisy(self) -> Mapping[float, Float32[np.ndarray, "some dim"]]:
        queries = self.exact.task.full.queries[self._rows]
        rng = generator(self.exact.task.seed, "noise")
        if queries.shape[1] < 2:  # a single dimension has no direction to turn to
            return {}
        return {cosine: noisy_queries(queries, cosine, rng) for cosine in COSINES}

    @cached_property
    def _full_values(self) -> Mapping[float, Float64[np.ndarray, " some"]]:
        documents = self.exact.task.full.documents
        return {
            cosine: self._values(self._answers(Encoded(noisy, documents)))
            for cosine, noisy in self._noisy.items()
        }

    @cached_property
    def _distances(self) -> Float64[np.ndarray, " asked"]:
        full = self.exact.task.full
        return strangeness(full.queries[self.exact.asked], full.documents)

    @cached_property
    def _plants(self) -> Plants | None:
        full = self.exact.task.full
        if len(full.queries) < 2 * PLANTED:
            return None
        return plant(full, generator(self.exact.task.seed, "poison"))

    @cached_property
    def _full_reached(self) -> Float64[np.ndarray, " h"]:
        assert self._plants is not None
        held_out = self._plants.held_out
        kth = self.exact.ranking.scores[held_out, K - 1]
        return reached(self.exact.task.full.queries[held_out], self._plants.vectors, kth)

    def _answers(self, encoded: Encoded) -> Int64[np.ndarray, "some k"]:
        return rank(encoded, K, self.exact.task.own[self._rows]).ranking.rows

    def _values(self, rows: Int64[np.ndarray, "some k"]) -> Float64[np.ndarray, " some"]:
        """nDCG@10, or without judgements the share of what full vectors answer to clean queries."""
        judged = self.exact.task.judged
        if judged is None:
            return overlap(rows, self._clean, K)
        return ndcg_values(rows, self._rows, judged)
