"""Nested (Matryoshka) embeddings: vectors whose every prefix is itself a usable vector."""

from nestvec.adapt import MatryoshkaAdaptor, Rotation
from nestvec.audit import audit
from nestvec.errors import NestvecError
from nestvec.index import Hits, Index
from nestvec.plan import Plan, Stage
from nestvec.tune import tune
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
