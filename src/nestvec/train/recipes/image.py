"""Image classification by every prefix: MRL, MRL-E, and plain networks of one width."""

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
from nestvec.errors import DataError, InputError
from nestvec.extras import require
from nestvec.json_text import parse_json
from nestvec.losses.nesting_dims import NestingDims
from nestvec.shapes import Float, Int64, UInt8
from nestvec.train.data.images import Images
from nestvec.train.models.image_model import ImageModel, ResNet, ViT
from nestvec.train.models.nested_head import NestedHead

_EVAL_BATCH_SIZE = 500


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """Settings of the recipe `image`: a network from scratch with a head for its prefixes."""

    dims: tuple[int, ...] = (8, 16, 32, 64, 128)
    """The nesting dims; the largest is the embedding's width. A single one is a plain network."""
    model: ResNet | ViT = field(default_factory=ResNet)
    tied: bool = False
    """MRL-E: one classifier for all prefixes, by its leading columns."""
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
    """Train on training images and held-out images in `folder`, or resume the run there.

    The metric is accuracy at each of the dims, by the head of these dims. `folder / "model"` then
    holds the network (`ImageModel.load`) and the head (`load_head`).
    """
    train, held_out = data
    if train.classes != held_out.classes or train.pixels.shape[1:] != held_out.pixels.shape[1:]:
        raise InputError(
            "the held-out images have other classes or another size than the training images; "
            "split one set of images"
        )
    parts = [part for images in data for part in (images.pixels, images.labels, images.classes)]
    run_folder = RunFolder.for_run(folder, "image", config, fingerprint(*parts))
    with seeded_global_rng(config.loop.seed, "model"):
        task = ImageTask(train, held_out, config)
    return train_task(task, config.loop, run_folder, listen)


class ImageTask(EpochTask):
    """Nested cross-entropy of a network's embeddings."""

    metric = "accuracy"

    def __init__(self, train: Images, held_out: Images, config: ImageConfig) -> None:
        super().__init__()
        self.config, self.train_images, self.held_out = config, train, held_out
        self.rows = len(train)
        self.model = build_model(train, config.model, max(config.dims))
        self.head = NestedHead(config.dims, len(train.classes), tied=config.tied)
        # Weights in the order of the head's dims, which rise.
        self.weights = NestingDims.for_widest(config.dims, config.weights).weights

    def row_batch(
        self, rows: Int64[Tensor, " batch"], generator: torch.Generator
    ) -> tuple[Tensor, Int64[Tensor, " batch"]]:
        """Select pixels and labels, augmented if so configured."""
        pixels = torch.from_numpy(self.train_images.pixels[rows.numpy()])
        if self.config.augment:
            pixels = augment(pixels, generator)
        labels = torch.from_numpy(self.train_images.labels[rows.numpy()])
        return pixels.to(self.device), labels.to(self.device)

    def forward(self, batch: tuple[Tensor, Tensor]) -> Float[Tensor, "batch dim"]:
        """Compute the embeddings."""
        rows: Tensor = self.model(batch[0])
        return rows

    def loss(self, outputs: Tensor, batch: tuple[Tensor, Tensor]) -> Float[Tensor, ""]:
        """Compute the weighted sum of the losses of all prefixes, averaged over the batch."""
        smoothing = self.config.label_smoothing
        return self.head.loss(outputs.float(), batch[1], self.weights, label_smoothing=smoothing)

    def evaluate(self) -> dict[str, float]:
        """Compute the share of held-out images whose class has the largest logit, by dims."""
        labels = torch.from_numpy(self.held_out.labels)
        correct = torch.zeros(len(self.head.dims), dtype=torch.int64)
        for block, pixels in _mini_batches(self.held_out, self.device):
            classes = torch.stack([logits.argmax(1) for logits in self.head(self.model(pixels))])
            correct += (classes.cpu() == labels[block]).sum(1)
        shares = (correct.double() / len(labels)).tolist()
        return {str(dim): share for dim, share in zip(self.head.dims, shares, strict=True)}

    def save(self, folder: Path) -> None:
        """Save the network and the head."""
        self.model.save(folder)
        _save_head(self.head, self.train_images.classes, folder)


def build_model(images: Images, architecture: ResNet | ViT, dim: int) -> ImageModel:
    """Make a new network for images like these."""
    size: Any = images.pixels.shape[1:]
    sample = images.pixels[:: max(1, len(images) // 1000)].reshape(-1, size[-1]) / 255
    mean, deviation = sample.mean(0), np.maximum(sample.std(0), 1e-3)
    return ImageModel(architecture, dim, size, tuple(mean.tolist()), tuple(deviation.tolist()))


def embed(model: ImageModel, images: Images) -> Float[np.ndarray, "n dim"]:
    """Encode images with a network; embeddings are of any length."""
    device = next(model.parameters()).device
    with torch.no_grad():
        rows = [model(pixels).float().cpu() for _, pixels in _mini_batches(images, device)]
    array: np.ndarray = torch.cat(rows).numpy()
    return array


def load_head(folder: Path) -> tuple[NestedHead, tuple[str, ...]]:
    """Load the head that `train_image` saved, and the names of its classes.

    `DataError` where it is missing or damaged.
    """
    safetensors = require("safetensors", "train")
    try:
        facts = parse_json((folder / "head.json").read_text(encoding="utf-8"))
        head = NestedHead(facts["dims"], len(facts["classes"]), tied=facts["tied"])
        weights = require("safetensors.torch", "train").load_file(folder / "head.safetensors")
        head.load_state_dict(weights)
        classes = tuple(facts["classes"])
    except (
        OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError
    ) as e:  # fmt: skip
        raise DataError(
            f"{folder} holds no complete head ({type(e).__name__}); train the model again"
        ) from e
    return head.eval(), classes


def _save_head(head: NestedHead, classes: tuple[str, ...], folder: Path) -> None:
    facts = {"dims": head.dims, "tied": head.tied, "classes": classes}
    (folder / "head.json").write_text(json.dumps(facts), encoding="utf-8")
    weights = require("safetensors.torch", "train")
    weights.save_file(head.state_dict(), folder / "head.safetensors")


def augment(
    pixels: UInt8[Tensor, "n height width channels"], generator: torch.Generator, shift: int = 2
) -> UInt8[Tensor, "n height width channels"]:
    """Mirror each image or not, and shift it by up to `shift` pixels; new pixels are black."""
    n, height, width, _ = pixels.shape
    padded = nn.functional.pad(pixels, (0, 0, shift, shift, shift, shift))
    row_shift, column_shift = torch.randint(0, 2 * shift + 1, (2, n), generator=generator)
    rows = row_shift[:, None] + torch.arange(height)
    columns = column_shift[:, None] + torch.arange(width)
    is_mirrored = torch.rand(n, generator=generator) < 0.5
    columns = torch.where(is_mirrored[:, None], columns.flip(1), columns)
    shifted: Tensor = padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return shifted


def _mini_batches(images: Images, device: torch.device) -> Iterator[tuple[slice, Tensor]]:
    for start in range(0, len(images), _EVAL_BATCH_SIZE):
        block = slice(start, min(start + _EVAL_BATCH_SIZE, len(images)))
        yield block, torch.from_numpy(images.pixels[block]).to(device)
