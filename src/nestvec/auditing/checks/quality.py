"""Checks of the ranking: agreement with the baseline, and relevance by judgments."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nestvec.auditing.baseline import Baseline
from nestvec.auditing.evaluated import EvaluatedVariant
from nestvec.auditing.measures.fidelity import fidelity, geometry, resolution
from nestvec.auditing.measures.local_dimension import local_dimension
from nestvec.auditing.measures.relevance import relevance
from nestvec.auditing.types import CheckResult


@dataclass(frozen=True)
class FidelityCheck:
    """Agreement of a variant's ranking with the baseline, and the geometry of its vectors."""

    seed_key: ClassVar[str] = "fidelity"
    baseline: Baseline

    @classmethod
    def prepare(cls, baseline: Baseline) -> "FidelityCheck":
        """Prepare the check, which applies to all inputs."""
        return cls(baseline)

    def results(self, variant: EvaluatedVariant, rng: np.random.Generator) -> Iterable[CheckResult]:
        """Measure agreement, resolution and geometry; of unit vectors, the local dimension too.

        The local dimension comes from the variant's distances, before any rerank. Of a plan, whose
        vectors stay in the store, agreement alone.
        """
        inputs, embeddings = self.baseline.inputs, variant.embeddings
        n_documents = len(inputs.full.documents)
        yield fidelity(variant.agreement, variant.depths, n_documents, rng, inputs.groups)
        if embeddings is None:
            return
        yield resolution(inputs.full, embeddings, self.baseline.ranking, rng)
        yield geometry(embeddings, variant.ranking, rng)
        if inputs.unit:
            yield local_dimension(embeddings, variant.first_pass, rng)


@dataclass(frozen=True)
class RelevanceCheck:
    """Relevance of a variant's results by judgments, compared with the baseline's."""

    seed_key: ClassVar[str] = "relevance"
    baseline: Baseline

    @classmethod
    def prepare(cls, baseline: Baseline) -> "RelevanceCheck | None":
        """Prepare the check where there are relevance judgments."""
        return None if baseline.relevance is None else cls(baseline)

    def results(self, variant: EvaluatedVariant, rng: np.random.Generator) -> Iterable[CheckResult]:
        """Measure the queries that have judgments."""
        assert self.baseline.relevance is not None and variant.relevance is not None
        yield relevance(self.baseline.relevance, variant.relevance, rng, self.baseline.groups)
