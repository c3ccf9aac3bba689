"""Classes of documents: are they still told apart by a few examples?"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nestvec.auditing.baseline import Exact
from nestvec.auditing.evaluated import Made
from nestvec.auditing.measures.few_shot import few_shot
from nestvec.auditing.types import Findings
from nestvec.shapes import Int64


@dataclass(frozen=True)
class FewShot:
    """Few-shot classification of the documents."""

    name: ClassVar[str] = "few shots"
    exact: Exact
    labels: Int64[np.ndarray, " n"]

    @classmethod
    def of(cls, exact: Exact) -> "FewShot | None":
        """Where documents have labels."""
        labels = exact.task.extras.labels
        return None if labels is None else cls(exact, labels)

    def findings(self, made: Made, rng: np.random.Generator) -> Iterable[Findings]:
        """Of vectors alone: rescoring answers queries, it classifies nothing."""
        if made.variant.rescore:
            return
        documents = self.exact.task.full.documents
        yield few_shot(documents, made.encoded.documents, self.labels, made.kept.values, rng)
