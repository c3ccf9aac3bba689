"""Maps that make the prefixes of frozen embeddings more useful."""

from nestvec.adapt.adapter import Adapter
from nestvec.adapt.adaptor import MatryoshkaAdaptor
from nestvec.adapt.chain import Chain
from nestvec.adapt.linear import Linear, Prefix
from nestvec.adapt.recipe import Recipe
from nestvec.adapt.rotation import Rotation

__all__ = [
    "Adapter",
    "Chain",
    "Linear",
    "MatryoshkaAdaptor",
    "Prefix",
    "Recipe",
    "Rotation",
]
