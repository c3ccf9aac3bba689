"""Classifying images by every prefix: MRL, MRL-E, and plain networks of one size."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from nestvec.engine.checkpoint import RunFolder, fingerprint
from nestvec.engine.loop import Listener, TrainingResult, no_op, train_task
from nestvec.engine.schedule import Loop
from nestvec.engine.seeding import seeded_global_rng
from nestvec.engine.task import EpochTask
from nestvec.errors import InputError
from nestvec.extras import require
from nestvec.losses.nesting_dims import NestingDims
from nestvec.shapes import Float, Int64, UInt8
from nestvec.train.data.images import Images
from nestvec.train.models.image_model import ImageModel, ResNet, ViT
from nestvec.train.models.nested_head import NestedHead

_EVALUATED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """A network from scratch, a head for its prefixes, and how both are trained."""

    dims: tuple[int, ...] = (8, 16, 32, 64, 128)
    """The sizes; the largest is the embedding's width. One alone makes a plain network."""
    model: ResNet | ViT = field(default_factory=ResNet)
    tied: bool = False
    """MRL-E: one classifier for all sizes, by its columns."""
    weights: tuple[float, ...] | Literal["uniform", "front"] = "uniform"
    label_smoothing: float = 0.0
    augment: bool = False
    """Mirror half of the images, and shift each by up to two pixels."""
    loop: Loop = field(default_factory=Loop)

    def __post_init__(self) -> None:
        NestingDims.for_widest(self.dims, self.weights)
        if not 0 <= self.label_smoothing <= 1:
            raise InputError(f"label_smoothing={self.label_smoothing} is no share; use 0 to 1")


def train_image(
    data: tuple[Images, Images],
    config: ImageConfig,
    folder: Path,
    listen: Listener = no_op,
) -> TrainingResult:
    """Train on the first images, held against the second, in `folder`; or go on there.

    The metric is accuracy at each size, by its own head. `folder / "model"` then holds the network
    (`ImageModel.load`) and the head (`load_head`).
    """
    train, held_out = data
    if train.classes != held_out.classes or train.pixels.shape[1:] != held_out.pixels.shape[1:]:
        raise InputError("the held-out images are of other classes or of another size")
    parts = [part for images in data for part in (images.pixels, images.labels, images.classes)]
    place = RunFolder.for_run(folder, "image", config, fingerprint(*parts))
    with seeded_global_rng(config.loop.seed, "model"):
        task = ImageTask(train, held_out, config)
    return train_task(task, config.loop, place, listen)


class ImageTask(EpochTask):
    """Nested cross-entropy of a network's embeddings."""

    metric = "accuracy"

    def __init__(self, train: Images, held_out: Images, config: ImageConfig) -> None:
        super().__init__()
        self.config, self.train_images, self.held_out = config, train, held_out
        self.rows = len(train)
        self.model = build_model(train, config.model, max(config.dims))
        self.head = NestedHead(config.dims, len(train.classes), tied=config.tied)
        # Weights in the order of the head's sizes, which rise.
        self.weights = NestingDims.for_widest(config.dims, config.weights).weights

    def row_batch(
        self, rows: Int64[Tensor, " batch"], draw: torch.Generator
    ) -> tuple[Tensor, Int64[Tensor, " batch"]]:
        """Pixels and labels."""
        pixels = torch.from_numpy(self.train_images.pixels[rows.numpy()])
        if self.config.augment:
            pixels = augment(pixels, draw)
        labels = torch.from_numpy(self.train_images.labels[rows.numpy()])
        return pixels.to(self.device), labels.to(self.device)

    def forward(self, batch: tuple[Tensor, Tensor]) -> Float[Tensor, "batch dim"]:
        """The embeddings."""
        rows: Tensor = self.model(batch[0])
        return rows

    def loss(self, outputs: Tensor, batch: tuple[Tensor, Tensor]) -> Float[Tensor, ""]:
        """The mean over the batch of the losses of all sizes, weighted."""
        smoothing = self.config.label_smoothing
        return self.head.loss(outputs.float(), batch[1], self.weights, label_smoothing=smoothing)

    def evaluate(self) -> dict[str, float]:
        """The share of held-out images whose class has the largest logit, by size."""
        labels = torch.from_numpy(self.held_out.labels)
        right = torch.zeros(len(self.head.dims), dtype=torch.int64)
        for part, pixels in _pieces(self.held_out, self.device):
            chosen = torch.stack([logits.argmax(1) for logits in self.head(self.model(pixels))])
            right += (chosen.cpu() == labels[part]).sum(1)
        shares = (right.double() / len(labels)).tolist()
        return {str(dim): share for dim, share in zip(self.head.dims, shares, strict=True)}

    def save(self, folder: Path) -> None:
        """Network and head."""
        self.model.save(folder)
        _save_head(self.head, self.train_images.classes, folder)


def build_model(images: Images, architecture: ResNet | ViT, dim: int) -> ImageModel:
    """A new network for images like these."""
    size: Any = images.pixels.shape[1:]
    some = images.pixels[:: max(1, len(images) // 1000)].reshape(-1, size[-1]) / 255
    mean, deviation = some.mean(0), np.maximum(some.std(0), 1e-3)
    return ImageModel(architecture, dim, size, tuple(mean.tolist()), tuple(deviation.tolist()))


def embed(model: ImageModel, images: Images) -> Float[np.ndarray, "n dim"]:
    """The network's rows for images, not scaled."""
    device = next(model.parameters()).device
    with torch.no_grad():
        rows = [model(pixels).float().cpu() for _, pixels in _pieces(images, device)]
    array: np.ndarray = torch.cat(rows).numpy()
    return array


def load_head(folder: Path) -> tuple[NestedHead, tuple[str, ...]]:
    """The head that `train_image` saved, and the names of its classes."""
    facts = json.loads((folder / "head.json").read_text(encoding="utf-8"))
    head = NestedHead(facts["dims"], len(facts["classes"]), tied=facts["tied"])
    weights = require("safetensors.torch", "train").load_file(folder / "head.safetensors")
    head.load_state_dict(weights)
    return head.eval(), tuple(facts["classes"])


def _save_head(head: NestedHead, classes: tuple[str, ...], folder: Path) -> None:
    facts = {"dims": head.dims, "tied": head.tied, "classes": classes}
    (folder / "head.json").write_text(json.dumps(facts), encoding="utf-8")
    weights = require("safetensors.torch", "train")
    weights.save_file(head.state_dict(), folder / "head.safetensors")


def augment(
    pixels: UInt8[Tensor, "n height width channels"], draw: torch.Generator, shift: int = 2
) -> UInt8[Tensor, "n height width channels"]:
    """Each image mirrored or not, and moved by up to `shift` pixels; what comes in is black."""
    n, height, width, _ = pixels.shape
    padded = nn.functional.pad(pixels, (0, 0, shift, shift, shift, shift))
    down, right = torch.randint(0, 2 * shift + 1, (2, n), generator=draw)
    rows = down[:, None] + torch.arange(height)
    columns = right[:, None] + torch.arange(width)
    mirrored = torch.rand(n, generator=draw) < 0.5
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    moved: Tensor = padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved


def _pieces(images: Images, device: torch.device) -> Iterator[tuple[slice, Tensor]]:
    for first in range(0, len(images), _EVALUATED_AT_ONCE):
        part = slice(first, min(first + _EVALUATED_AT_ONCE, len(images)))
        yield part, torch.from_numpy(images.pixels[part]).to(device)
