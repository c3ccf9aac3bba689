"""Check of few-shot classification: the nearest class mean of a few examples."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nestvec.auditing.baseline import Baseline
from nestvec.auditing.evaluated import EvaluatedVariant
from nestvec.auditing.measures.few_shot import few_shot
from nestvec.auditing.types import CheckResult
from nestvec.shapes import Int64


@dataclass(frozen=True)
class FewShotCheck:
    """Few-shot classification of the documents."""

    seed_key: ClassVar[str] = "few shots"
    baseline: Baseline
    labels: Int64[np.ndarray, " n"]

    @classmethod
    def prepare(cls, baseline: Baseline) -> "FewShotCheck | None":
        """Prepare the check where the documents have labels."""
        labels = baseline.inputs.stress.labels
        return None if labels is None else cls(baseline, labels)

    def results(self, variant: EvaluatedVariant, rng: np.random.Generator) -> Iterable[CheckResult]:
        """Measure embeddings without rerank: reranks and plans rank, and classify nothing."""
        if variant.variant.rerank or variant.embeddings is None:
            return
        full, documents = self.baseline.inputs.full.documents, variant.embeddings.documents
        yield few_shot(full, documents, self.labels, variant.primary_metric.paired, rng)
