"""Maps that make the prefixes of frozen embeddings more useful."""

from nestvec.adapt.rotation import Rotation

__all__ = ["Rotation"]
