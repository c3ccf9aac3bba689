"""Near misses: documents that almost answer, given, mined, or made by editing those that do."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nestvec.auditing.baseline import Exact
from nestvec.auditing.evaluated import Made
from nestvec.auditing.measures.hard_negatives import excess_fragility, hard_negatives
from nestvec.auditing.perturbations.mining import mine_from_union
from nestvec.auditing.perturbations.reencoding import Edited
from nestvec.auditing.ranking.scorers import ByShortlist, ByVectors, Scorer
from nestvec.auditing.types import EDITED, Encoded, Findings, Triplets


@dataclass(frozen=True)
class NearMisses:
    """Hard negatives among the documents: given or mined."""

    name: ClassVar[str] = "near misses"
    exact: Exact

    @classmethod
    def of(cls, exact: Exact) -> "NearMisses | None":
        """Where some are given, or may be mined."""
        return None if exact.task.negatives is None else cls(exact)

    def findings(self, made: Made, rng: np.random.Generator) -> Iterable[Findings]:
        """What is told apart, and what is lost by it."""
        triplets = self._triplets(made)
        if triplets is None:
            return
        yield hard_negatives(*made.scorers, triplets, rng)
        yield excess_fragility(*made.scorers, triplets, len(self.exact.task.full.documents), rng)

    def _triplets(self, made: Made) -> Triplets | None:
        task = self.exact.task
        if task.triplets is not None or task.judged is None:
            return task.triplets
        rankings = self.exact.ranking.rows, made.ranking.rows
        return mine_from_union(rankings, task.judged, task.own, len(task.full.documents))


@dataclass(frozen=True)
class EditedDocuments:
    """Answers with one detail made wrong: what is wrong is known by construction."""

    name: ClassVar[str] = "edited documents"
    edited: Edited

    @classmethod
    def of(cls, exact: Exact) -> "EditedDocuments | None":
        """Where texts could be edited and encoded."""
        edited = exact.task.extras.edited
        return None if edited is None else cls(edited)

    def findings(self, made: Made, rng: np.random.Generator) -> Iterable[Findings]:
        """As of other near misses, all kinds together by the name "edited", and each kind."""
        if made.transform is None:
            return
        edited, scorers = self.edited, self._scorers(made)
        found = hard_negatives(*scorers, edited.triplets, rng)
        yield Findings(
            {_named(name): estimate for name, estimate in found.metrics.items()},
            {"edited_documents": found.details["hard_negatives"]},
        )
        fragility = excess_fragility(*scorers, edited.triplets, edited.corpus, rng)
        yield Findings({_named(name): one for name, one in fragility.metrics.items()})

    def _scorers(self, made: Made) -> tuple[Scorer, Scorer]:
        """As `Made.scorers`, in the small world of edits."""
        edited, transform = self.edited, made.transform
        assert transform is not None
        if made.shortlist is not None:
            found = made.shortlist.rows
            own, listed = (
                ByShortlist(edited.full, rows[edited.queries], edited.rows)
                for rows in (made.exact.shortlist(found.shape[1]), found)
            )
            return own, listed
        sides = transform.queries(edited.full.queries), transform.documents(edited.full.documents)
        return ByVectors(edited.full), ByVectors(Encoded(*sides))


def _named(metric: str) -> str:
    return metric if ":" in metric else f"{metric}:{EDITED}"
