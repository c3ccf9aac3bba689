"""Nested (Matryoshka) embeddings: vectors whose every prefix is itself a usable vector."""

import importlib
import typing

from nestvec.adapt import MatryoshkaAdaptor, Rotation, Transform
from nestvec.auditing import audit
from nestvec.documents import Document
from nestvec.errors import NestvecError
from nestvec.hits import Hit, Hits
from nestvec.index import Index
from nestvec.plan import Plan, Stage
from nestvec.tuning import check_drift, tune
from nestvec.vector_store import VectorStore, WritableVectorStore
from nestvec.vectors import truncate

if typing.TYPE_CHECKING:
    from nestvec import losses as losses
    from nestvec.auditing.reporting.report import AuditReport as AuditReport
    from nestvec.classify import Cascade as Cascade
    from nestvec.collections import TextIndex as TextIndex
    from nestvec.encode import open_encoder as open_encoder
    from nestvec.train import NestedHead as NestedHead
    from nestvec.tuning.tuned import TunedPlan as TunedPlan

__all__ = [
    "Document",
    "Hit",
    "Hits",
    "Index",
    "MatryoshkaAdaptor",
    "NestvecError",
    "Plan",
    "Rotation",
    "Stage",
    "Transform",
    "VectorStore",
    "WritableVectorStore",
    "audit",
    "check_drift",
    "truncate",
    "tune",
]
__version__ = "0.1.0"

_LAZY = {
    "AuditReport": "nestvec.auditing.reporting.report",
    "Cascade": "nestvec.classify",
    "NestedHead": "nestvec.train",
    "TextIndex": "nestvec.collections",
    "TunedPlan": "nestvec.tuning.tuned",
    "losses": "nestvec",
    "open_encoder": "nestvec.encode",
}
"""Public names whose modules need SciPy, torch or an encoder: loaded when first used."""


def __getattr__(name: str) -> typing.Any:
    """Load a public name that is not loaded at import."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "losses":
        return importlib.import_module("nestvec.losses")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """List all public names, those that are loaded later too."""
    return sorted({*__all__, *_LAZY, "__version__", "__doc__"})
