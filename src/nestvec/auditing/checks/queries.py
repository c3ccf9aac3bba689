"""Queries that are difficult: some of those asked, the same ones disturbed, and strangers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from nestvec.auditing.baseline import Exact
from nestvec.auditing.evaluated import Made
from nestvec.auditing.measures.paired import Paired
from nestvec.auditing.measures.relevance import ndcg_values
from nestvec.auditing.measures.stress import (
    COSINES,
    long_tail,
    noisy_queries,
    out_of_distribution,
    slice_stress,
    strangeness,
    stress,
)
from nestvec.auditing.ranking.full_ranking import rank
from nestvec.auditing.seeding import generator
from nestvec.auditing.types import Encoded, Findings, K
from nestvec.metrics import overlap
from nestvec.shapes import Float32, Float64, Int64

_LEAST_QUERIES = 20
"""Fewer are not cut in quarters."""


@dataclass(frozen=True)
class Slices:
    """Parts of the queries beside the rest: given ones, the rarest, the farthest from the corpus.

    Cross-modal pairs are slices too: queries of one kind beside those of the other.
    """

    name: ClassVar[str] = "slices"
    exact: Exact

    @classmethod
    def of(cls, exact: Exact) -> "Slices | None":
        """Where there are queries enough to part."""
        return cls(exact) if len(exact.asked) >= _LEAST_QUERIES else None

    def findings(self, made: Made, rng: np.random.Generator) -> Iterable[Findings]:
        """By what the verdict is about."""
        values, extras = made.kept.values, self.exact.task.extras
        yield out_of_distribution(values, self._distances, rng)
        if extras.frequencies is not None:
            yield long_tail(values, extras.frequencies[self.exact.asked], rng)
        for label, part in extras.slices.items():
            yield _labelled(label, slice_stress("slice", values, part[self.exact.asked], rng))

    @cached_property
    def _distances(self) -> Float64[np.ndarray, " asked"]:
        full = self.exact.task.full
        return strangeness(full.queries[self.exact.asked], full.documents)


@dataclass(frozen=True)
class Disturbed:
    """The same queries made difficult: noise on vectors, typing errors, and what is given."""

    name: ClassVar[str] = "disturbed queries"
    exact: Exact

    @classmethod
    def of(cls, exact: Exact) -> "Disturbed":
        """Of every task."""
        return cls(exact)

    def findings(self, made: Made, rng: np.random.Generator) -> Iterable[Findings]:
        """nDCG@10, or what is left of the full vectors' answers to the clean queries.

        Of vectors that were made here: disturbed queries must be made alike.
        """
        if made.transform is None:
            return
        rows = self.exact.task.sample
        clean = Paired(self._values(self._clean), self._values(made.ranking.rows[rows, :K]))
        for name, queries in self._queries.items():
            answers = made.answers(queries, self.exact.task.own[rows])
            yield stress(name, clean, Paired(self._of_full[name], self._values(answers)), rng)

    @cached_property
    def _queries(self) -> Mapping[str, Float32[np.ndarray, "some dim"]]:
        """Every disturbance by its name, at full width."""
        task = self.exact.task
        queries, rng = task.full.queries[task.sample], generator(task.seed, "noise")
        # A single dimension has no direction to turn to.
        cosines = COSINES if queries.shape[1] > 1 else ()
        noise = {f"noise_{cosine}": noisy_queries(queries, cosine, rng) for cosine in cosines}
        return noise | dict(task.extras.disturbed)

    @cached_property
    def _clean(self) -> Int64[np.ndarray, "some k"]:
        return self.exact.ranking.rows[self.exact.task.sample, :K]

    @cached_property
    def _of_full(self) -> Mapping[str, Float64[np.ndarray, " some"]]:
        task = self.exact.task
        return {
            name: self._values(
                rank(Encoded(queries, task.full.documents), K, task.own[task.sample]).ranking.rows
            )
            for name, queries in self._queries.items()
        }

    def _values(self, rows: Int64[np.ndarray, "some k"]) -> Float64[np.ndarray, " some"]:
        task = self.exact.task
        if task.judged is None:
            return overlap(rows, self._clean, K)
        return ndcg_values(rows, task.sample, task.judged)


@dataclass(frozen=True)
class Strangers:
    """Queries of another kind than those asked, without judgements."""

    name: ClassVar[str] = "strangers"
    exact: Exact

    @classmethod
    def of(cls, exact: Exact) -> "Strangers | None":
        """Where some are given."""
        return cls(exact) if exact.task.extras.strangers else None

    def findings(self, made: Made, rng: np.random.Generator) -> Iterable[Findings]:
        """The share of the full vectors' first ten that is kept, beside that of the queries asked.

        Of vectors that were made here: strangers must be made alike.
        """
        if made.transform is None:
            return
        kept = [made.agreed[f"overlap@{K}"]]
        for name, queries in self.exact.task.extras.strangers.items():
            nobody = np.full(len(queries), -1, np.int64)
            kept.append(overlap(made.answers(queries, nobody), self._of_full[name], K))
            values = np.concatenate([kept[0], kept[-1]])
            is_stranger = np.arange(len(values)) >= len(kept[0])
            yield slice_stress(name, Paired(np.ones_like(values), values), is_stranger, rng)

    @cached_property
    def _of_full(self) -> Mapping[str, Int64[np.ndarray, "m k"]]:
        documents = self.exact.task.full.documents
        return {
            name: rank(
                Encoded(queries, documents), K, np.full(len(queries), -1, np.int64)
            ).ranking.rows
            for name, queries in self.exact.task.extras.strangers.items()
        }


def _labelled(label: str, found: Findings) -> Findings:
    """Metrics as `name:label`, as those of kinds of near misses are."""
    return Findings(
        {f"{name}:{label}": estimate for name, estimate in found.metrics.items()},
        {f"{name}:{label}": details for name, details in found.details.items()},
    )
