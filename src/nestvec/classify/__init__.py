"""Adaptive classification: read as few dimensions as a row needs, on frozen vectors, no torch."""

from nestvec.classify.cascade import Cascade

__all__ = ["Cascade"]
