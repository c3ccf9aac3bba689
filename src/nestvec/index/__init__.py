"""The embedded search engine."""

from nestvec.documents import Document
from nestvec.hits import Hits, SearchStats, StageStats
from nestvec.index.index import Index

__all__ = ["Document", "Hits", "Index", "SearchStats", "StageStats"]
