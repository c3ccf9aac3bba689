"""What a family of checks is."""

from collections.abc import Iterable
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from nestvec.auditing.baseline import Exact
from nestvec.auditing.evaluated import Made
from nestvec.auditing.types import Findings


@runtime_checkable
class Family(Protocol):
    """Checks that belong together. What all variants share in them is worked out once, in here."""

    name: ClassVar[str]
    """Its random numbers are drawn by this name: they do not depend on what else is asked."""

    @classmethod
    def of(cls, exact: Exact) -> "Family | None":
        """Ready to be asked; None where the task holds nothing to ask about."""
        ...

    def findings(self, made: Made, rng: np.random.Generator) -> Iterable[Findings]:
        """What is to be said of one variant; nothing where a check does not apply to it."""
        ...
