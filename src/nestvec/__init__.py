"""Nested (Matryoshka) embeddings: vectors whose every prefix is itself a usable vector."""

import importlib
import typing

from nestvec.adapt import MatryoshkaAdaptor, Rotation
from nestvec.auditing import audit
from nestvec.errors import NestvecError
from nestvec.index import Hits, Index
from nestvec.plan import Plan, Stage
from nestvec.tuning import tune
from nestvec.vectors import truncate

__all__ = [
    "Hits",
    "Index",
    "MatryoshkaAdaptor",
    "NestvecError",
    "Plan",
    "Rotation",
    "Stage",
    "audit",
    "truncate",
    "tune",
]
__version__ = "0.1.0"


_LATER = {
    "AuditReport": "nestvec.auditing.reporting.report",
    "Cascade": "nestvec.classify",
    "NestedHead": "nestvec.train",
}


def __getattr__(name: str) -> typing.Any:
    """What needs torch or SciPy is loaded when it is first asked for: these, and `losses`."""
    if name == "losses":
        return importlib.import_module("nestvec.losses")
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
