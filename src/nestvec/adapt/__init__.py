"""Fit maps that make the prefixes of frozen embeddings more useful."""

from nestvec.adapt.config import AdaptorConfig
from nestvec.adapt.learned_rotation import Rotation
from nestvec.adapt.linear import Linear
from nestvec.adapt.matryoshka_adaptor import MatryoshkaAdaptor
from nestvec.deprecation import renamed_attributes
from nestvec.transforms.base import Chain, Transform
from nestvec.transforms.linear import Prefix

__all__ = [
    "AdaptorConfig",
    "Chain",
    "Linear",
    "MatryoshkaAdaptor",
    "Prefix",
    "Rotation",
    "Transform",
]

__getattr__ = renamed_attributes(
    __name__, {"Adapter": ("Transform", Transform), "Recipe": ("AdaptorConfig", AdaptorConfig)}
)
