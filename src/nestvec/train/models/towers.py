"""Towers: from items (texts or images) to rows of one width."""

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

_TURNED_BY = 4096
"""Texts whose principal directions a rotated tower begins with."""


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A Sentence Transformers model to fine-tune."""

    kind: Literal["pretrained"] = "pretrained"
    name: str = "minilm"
    """minilm is packaged; else a folder, or a name on the Hugging Face hub."""
    max_tokens: int | None = None
    """Cut texts here; else where the model does."""

    def __post_init__(self) -> None:
        check_at_least(3, max_tokens=self.max_tokens)  # two of them mark beginning and end

    def open(self) -> Any:
        """The model, with its own width."""
        model = load_checkpoint(self.name, device="cpu").model.float()
        if self.max_tokens is not None:
            model.max_seq_length = self.max_tokens
        return model


class Tower(nn.Module, ABC):
    """Encodes items of one kind."""

    width: int

    @abstractmethod
    def features(self, items: Any) -> Features:
        """What `forward` takes, made on the CPU of some items."""

    @abstractmethod
    def forward(self, features: Features) -> Float[Tensor, "n dim"]:
        """One row per item, of any length."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model into an existing folder."""

    def embed(self, items: Any, at_once: int = 64) -> Float[np.ndarray, "n dim"]:
        """Rows of any number of items, in the order given; texts of like length go together."""
        device = next(self.parameters()).device
        order = range(len(items))
        if not isinstance(items, np.ndarray):
            order = sorted(order, key=lambda row: len(items[row]))  # type: ignore[assignment]
        rows = np.empty((len(items), self.width), dtype=np.float32)
        for first in range(0, len(items), at_once):
            chosen = list(order[first : first + at_once])
            features = to_device(self.features(select_items(items, chosen)), device)
            rows[chosen] = self(features).detach().float().cpu().numpy()
        return rows


class TextTower(Tower):
    """A Sentence Transformers model."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.width: int = model.get_embedding_dimension()

    def features(self, items: Sequence[str]) -> Features:
        """Token numbers; texts are cut where the model cuts them."""
        return dict(self.model.preprocess(list(items)))

    def forward(self, features: Features) -> Float[Tensor, "n dim"]:
        """One row per text."""
        # A copy, as the model adds its activations to what it is given.
        rows: Tensor = self.model(dict(features))["sentence_embedding"]
        return rows

    def rotated(self, texts: Sequence[str]) -> "TextTower":
        """A tower of the same rows, turned: the principal directions of these texts come first."""
        some = texts[:: -(-len(texts) // _TURNED_BY)]
        with torch.no_grad():
            rotation = OrthogonalTransform.fit(self.eval().embed(some))
        self.train()
        return TextTower(bert.with_projection(self.model, self.width, rotation.matrix))

    def save(self, folder: Path) -> None:
        """As Sentence Transformers saves it; `nestvec encode --model` takes the folder."""
        bert.save(self.model, folder)


class ImageTower(Tower):
    """An image model."""

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self.model = model
        self.width = model.dim

    def features(self, items: np.ndarray) -> Features:
        """The pixels."""
        return {"pixels": torch.from_numpy(items)}

    def forward(self, features: Features) -> Float[Tensor, "n dim"]:
        """One row per image."""
        rows: Tensor = self.model(features["pixels"])
        return rows

    def save(self, folder: Path) -> None:
        """As `ImageModel.load` reads it."""
        self.model.save(folder)


def build_text_tower(
    settings: Bert | Pretrained, texts: Sequence[str], width: int | None
) -> TextTower:
    """A tower for such texts, projected to `width` where the model has another."""
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
    """Some of the items, in this order."""
    if isinstance(items, np.ndarray):
        return items[list(rows)]
    return [items[row] for row in rows]


def to_device(features: Features, device: torch.device) -> Features:
    """The features with their tensors on a device."""
    return {
        name: value.to(device) if isinstance(value, Tensor) else value
        for name, value in features.items()
    }


def check_kind(items: Any, settings: object) -> None:
    """Images for an image tower, texts for a text tower, else `InputError`."""
    images, wanted = isinstance(items, np.ndarray), isinstance(settings, ResNet | ViT)
    if images != wanted:
        kinds = {True: "images", False: "texts"}
        raise InputError(
            f"the left items are {kinds[images]}, but left.kind is for {kinds[wanted]}; "
            "use resnet or vit for images, bert or pretrained for texts"
        )
