"""Which plan is safe? The cheapest one whose recall is promised, and whether the promise holds."""

from nestvec.tuning.api import check, tune

__all__ = ["check", "tune"]
