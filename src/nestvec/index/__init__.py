"""The embedded search engine."""

from nestvec.index.documents import Document
from nestvec.index.hits import Hits, SearchStats, StageStats
from nestvec.index.index import Index

__all__ = ["Document", "Hits", "Index", "SearchStats", "StageStats"]
