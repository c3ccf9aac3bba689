"""The answers themselves: as the full vectors give them, and as people judge them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nestvec.auditing.baseline import Exact
from nestvec.auditing.evaluated import Made
from nestvec.auditing.measures.fidelity import fidelity, geometry, resolution
from nestvec.auditing.measures.local_dimension import local_dimension
from nestvec.auditing.measures.relevance import relevance
from nestvec.auditing.types import Findings


@dataclass(frozen=True)
class Fidelity:
    """What is kept of the full vectors' answers, and how the variant's space looks."""

    name: ClassVar[str] = "fidelity"
    exact: Exact

    @classmethod
    def of(cls, exact: Exact) -> "Fidelity":
        """Of every task."""
        return cls(exact)

    def findings(self, made: Made, rng: np.random.Generator) -> Iterable[Findings]:
        """Agreement, resolution, geometry; local dimensions of distances by the variant itself."""
        task = self.exact.task
        yield fidelity(made.agreed, made.found.depths, len(task.full.documents), rng, task.groups)
        yield resolution(task.full, made.encoded, self.exact.ranking, rng)
        yield geometry(made.encoded, made.ranking, rng)
        if task.unit:
            yield local_dimension(made.encoded, made.found.ranking, rng)


@dataclass(frozen=True)
class Relevance:
    """What is kept of relevance, by people's judgements."""

    name: ClassVar[str] = "relevance"
    exact: Exact

    @classmethod
    def of(cls, exact: Exact) -> "Relevance | None":
        """Where there are judgements."""
        return None if exact.relevance is None else cls(exact)

    def findings(self, made: Made, rng: np.random.Generator) -> Iterable[Findings]:
        """Of judged queries."""
        assert self.exact.relevance is not None and made.relevance is not None
        yield relevance(self.exact.relevance, made.relevance, rng, self.exact.groups)
