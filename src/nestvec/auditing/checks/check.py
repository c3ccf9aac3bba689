"""Protocol of the checks of an audit."""

from collections.abc import Iterable
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from nestvec.auditing.baseline import Baseline
from nestvec.auditing.evaluated import EvaluatedVariant
from nestvec.auditing.types import CheckResult


@runtime_checkable
class Check(Protocol):
    """One aspect of a variant, measured; an instance holds whatever all variants share."""

    seed_key: ClassVar[str]
    """Its part of the seed, so that its random numbers do not depend on the other checks. Every
    figure of a report depends on it: it never changes, even where the class has a new name."""

    @classmethod
    def prepare(cls, baseline: Baseline) -> "Check | None":
        """Prepare the check; None where the inputs have no data for it."""
        ...

    def results(self, variant: EvaluatedVariant, rng: np.random.Generator) -> Iterable[CheckResult]:
        """Measure a variant; nothing where the check does not apply to it."""
        ...
