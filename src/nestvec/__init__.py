"""Nested (Matryoshka) embeddings: vectors whose every prefix is itself a usable vector."""

from nestvec.vectors import truncate

__all__ = ["truncate"]
__version__ = "0.1.0"
