"""Maps that make the prefixes of frozen embeddings more useful."""

from nestvec.adapt.config import Recipe
from nestvec.adapt.matryoshka_adaptor import MatryoshkaAdaptor
from nestvec.transforms.base import Adapter
from nestvec.transforms.chain import Chain
from nestvec.transforms.linear import Linear, Prefix
from nestvec.transforms.rotation import Rotation

__all__ = [
    "Adapter",
    "Chain",
    "Linear",
    "MatryoshkaAdaptor",
    "Prefix",
    "Recipe",
    "Rotation",
]
