"""The full vectors' answers, against which all else is held."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nestvec.audit.distractors import Distractors, distractors
from nestvec.audit.draw import generator
from nestvec.audit.fidelity import geometry
from nestvec.audit.model import K, Ranking
from nestvec.audit.relevance import PerQuery, relevance_values
from nestvec.audit.task import Task
from nestvec.shapes import Int64
from nestvec.statistics import Estimate, bootstrap_mean


@dataclass(frozen=True)
class Exact:
    """What the full vectors answer, and what that is worth."""

    task: Task
    ranking: Ranking

    @cached_property
    def relevance(self) -> PerQuery | None:
        """Relevance of the judged queries; None without judgements."""
        judged = self.task.judged
        return None if judged is None else relevance_values(self.ranking.rows, judged)

    @cached_property
    def distractors(self) -> Distractors | None:
        """What stands against the judged documents; None without, or among too few documents."""
        judged = self.task.judged
        if judged is None:
            return None
        most = int(np.unique(judged.queries, return_counts=True)[1].max())
        if len(self.task.full.documents) - most - 1 < K:
            return None
        return distractors(self.task.full, judged, self.task.own)

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
