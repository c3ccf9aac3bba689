"""Towers: encoders of texts or images to embeddings of one width."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from nestvec.encode.checkpoint import load_checkpoint
from nestvec.engine.validators import check_at_least
from nestvec.errors import InputError
from nestvec.shapes import Float
from nestvec.train.models import bert
from nestvec.train.models.bert import Bert
from nestvec.train.models.image_model import ImageModel, ResNet, ViT
from nestvec.transforms.rotation import OrthogonalTransform

Features = dict[str, Any]
"""The input of a tower: tensors of one row per item, and settings."""

_PCA_SAMPLE = 4096
"""Texts from which the PCA rotation of a tower is fitted."""


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A Sentence Transformers model to fine-tune."""

    kind: Literal["pretrained"] = "pretrained"
    name: str = "minilm"
    """`minilm`, which is packaged, or a folder, or a name on the Hugging Face hub."""
    max_tokens: int | None = None
    """Largest number of tokens of a text, which is truncated there; None: that of the model."""

    def __post_init__(self) -> None:
        check_at_least(3, max_tokens=self.max_tokens)  # two of them mark the start and the end

    def open(self) -> Any:
        """Load the model at its full width."""
        model = load_checkpoint(self.name, device="cpu").model.float()
        if self.max_tokens is not None:
            model.max_seq_length = self.max_tokens
        return model


class Tower(nn.Module, ABC):
    """An encoder of items of one kind."""

    width: int

    @abstractmethod
    def features(self, items: Any) -> Features:
        """Make the input of `forward` from items, on the CPU."""

    @abstractmethod
    def forward(self, features: Features) -> Float[Tensor, "n dim"]:
        """Compute one embedding per item, of any length."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model into an existing folder."""

    def embed(self, items: Any, mini_batch_size: int = 64) -> Float[np.ndarray, "n dim"]:
        """Encode any number of items, in their order; texts of similar length go together."""
        device = next(self.parameters()).device
        order = range(len(items))
        if not isinstance(items, np.ndarray):
            order = sorted(order, key=lambda row: len(items[row]))  # type: ignore[assignment]
        embeddings = np.empty((len(items), self.width), dtype=np.float32)
        for start in range(0, len(items), mini_batch_size):
            rows = list(order[start : start + mini_batch_size])
            features = to_device(self.features(select_items(items, rows)), device)
            embeddings[rows] = self(features).detach().float().cpu().numpy()
        return embeddings


class TextTower(Tower):
    """A tower of texts: a Sentence Transformers model."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.width: int = model.get_embedding_dimension()

    def features(self, items: Sequence[str]) -> Features:
        """Tokenize texts, truncated where the model does it."""
        return dict(self.model.preprocess(list(items)))

    def forward(self, features: Features) -> Float[Tensor, "n dim"]:
        """Compute one embedding per text."""
        # A copy, as the model adds its activations to its input.
        rows: Tensor = self.model(dict(features))["sentence_embedding"]
        return rows

    def with_pca_rotation(self, texts: Sequence[str]) -> "TextTower":
        """Add the PCA rotation of these texts, so that their principal directions come first."""
        sample = texts[:: -(-len(texts) // _PCA_SAMPLE)]
        with torch.no_grad():
            rotation = OrthogonalTransform.fit(self.eval().embed(sample))
        self.train()
        return TextTower(bert.with_projection(self.model, self.width, rotation.matrix))

    def save(self, folder: Path) -> None:
        """Save in the format of Sentence Transformers, which `nestvec encode --model` opens."""
        bert.save(self.model, folder)


class ImageTower(Tower):
    """A tower of images: an image model."""

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self.model = model
        self.width = model.dim

    def features(self, items: np.ndarray) -> Features:
        """Make a tensor of the pixels."""
        return {"pixels": torch.from_numpy(items)}

    def forward(self, features: Features) -> Float[Tensor, "n dim"]:
        """Compute one embedding per image."""
        rows: Tensor = self.model(features["pixels"])
        return rows

    def save(self, folder: Path) -> None:
        """Save in the format of `ImageModel.load`."""
        self.model.save(folder)


def build_text_tower(
    settings: Bert | Pretrained, texts: Sequence[str], width: int | None
) -> TextTower:
    """Make a tower for texts like these, projected to `width` where the model has another."""
    if isinstance(settings, Bert):
        tokenizer = settings.tokenizer(texts)
        model = bert.as_sentence_transformer(
            settings.model(tokenizer), tokenizer, settings.max_tokens
        )
    else:
        model = settings.open()
    if width not in (None, model.get_embedding_dimension()):
        model = bert.with_projection(model, width)
    return TextTower(model)


def select_items(items: Any, rows: Sequence[int]) -> Any:
    """Select items in this order."""
    if isinstance(items, np.ndarray):
        return items[list(rows)]
    return [items[row] for row in rows]


def to_device(features: Features, device: torch.device) -> Features:
    """Move the tensors among the features to a device."""
    return {
        name: value.to(device) if isinstance(value, Tensor) else value
        for name, value in features.items()
    }


def check_kind(items: Any, settings: object) -> None:
    """Raise `InputError` for images in a text tower, and for texts in an image tower."""
    are_images, takes_images = isinstance(items, np.ndarray), isinstance(settings, ResNet | ViT)
    if are_images != takes_images:
        kinds = {True: "images", False: "texts"}
        raise InputError(
            f"the queries are {kinds[are_images]} and query_tower.kind takes "
            f"{kinds[takes_images]}; use resnet or vit for images, bert or pretrained for texts"
        )
