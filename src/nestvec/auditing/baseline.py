"""The full vectors' answers, against which all else is held."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nestvec.auditing.measures.distractors import Census, Distractors, fewest_distractors
from nestvec.auditing.measures.fidelity import geometry
from nestvec.auditing.measures.relevance import PerQuery, relevance_values
from nestvec.auditing.ranking.full_ranking import Ranked, rank
from nestvec.auditing.seeding import generator
from nestvec.auditing.task import Task
from nestvec.auditing.types import Encoded, K, Ranking
from nestvec.progress import Advance
from nestvec.shapes import Int64
from nestvec.statistics import Estimate, bootstrap_mean


@dataclass(frozen=True)
class Exact:
    """What the full vectors answer, and what that is worth."""

    task: Task
    ranking: Ranking
    distractors: Distractors | None
    """What stands against the judged documents; None without, or among too few documents."""

    @classmethod
    def of(cls, task: Task, advance: Advance) -> "Exact":
        """The full vectors ranked; `advance` is called with the number of queries just done."""
        found, standing = ranked(task, task.full, task.depth, advance=advance)
        return cls(task, found.ranking, standing)

    @cached_property
    def relevance(self) -> PerQuery | None:
        """Relevance of the judged queries; None without judgements."""
        judged = self.task.judged
        return None if judged is None else relevance_values(self.ranking.rows, judged)

    def shortlist(self, count: int) -> Int64[np.ndarray, "q count"]:
        """The full vectors' own first `count`, at most as many as any variant rescores."""
        rows = self.ranking.rows
        return (rows if count <= rows.shape[1] else self._deep)[:, :count]

    @cached_property
    def _deep(self) -> Int64[np.ndarray, "q deep"]:
        deepest = max(candidate.variant.rescore for candidate in self.task.candidates)
        depth = min(deepest, len(self.task.full.documents) - 1)
        return rank(self.task.full, depth, self.task.own).ranking.rows

    @property
    def asked(self) -> Int64[np.ndarray, " asked"]:
        """The queries that a verdict is about: the judged ones, or all without judgements."""
        return self.task.asked

    @cached_property
    def groups(self) -> Int64[np.ndarray, " asked"] | None:
        """The groups of the queries asked."""
        return None if self.task.groups is None else self.task.groups[self.asked]

    def metrics(self) -> dict[str, Estimate]:
        """What the full vectors reach themselves."""
        rng = generator(self.task.seed, "full")
        found = dict(geometry(self.task.full, self.ranking, rng).metrics)
        for name, values in (self.relevance or {}).items():
            found[name] = bootstrap_mean(values, rng, groups=self.groups)
        return found


def ranked(
    task: Task,
    encoded: Encoded,
    depth: int,
    wanted: Int64[np.ndarray, "q m"] | None = None,
    advance: Advance = lambda _: None,
) -> tuple[Ranked, Distractors | None]:
    """What vectors of the task answer, as `rank` has it, and how its judged documents stand."""
    judged = task.judged
    if judged is None or fewest_distractors(encoded, judged) < K:
        return rank(encoded, depth, task.own, wanted, advance), None
    census = Census.of(encoded, judged, task.own)
    found = rank(encoded, depth, task.own, wanted, advance, census.take)
    return found, census.distractors()
