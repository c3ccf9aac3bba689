"""Image models: a backbone of `transformers` and a linear projection to the embedding."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nestvec.engine.validators import check_at_least
from nestvec.errors import EncodeError, InputError
from nestvec.extras import require
from nestvec.json_text import parse_json
from nestvec.shapes import Float, UInt8

CONFIG, WEIGHTS = "nestvec_image_model.json", "model.safetensors"


@dataclass(frozen=True, slots=True)
class ResNet:
    """A residual network of three stages, the last of `hidden` channels, for small images."""

    kind: Literal["resnet"] = "resnet"
    hidden: int = 128
    blocks: int = 1
    """Basic blocks of two convolutions in each stage."""

    def __post_init__(self) -> None:
        check_at_least(1, hidden=self.hidden, blocks=self.blocks)

    def backbone(self, height: int, width: int, channels: int) -> Any:
        """Make the network up to its pooled last stage."""
        transformers = require("transformers", "train")
        stages = [max(1, self.hidden >> shift) for shift in (2, 1, 0)]
        network = transformers.ResNetModel(
            transformers.ResNetConfig(
                num_channels=channels,
                embedding_size=stages[0],
                hidden_sizes=stages,
                depths=[self.blocks] * 3,
                layer_type="basic",
            )
        )
        for name, module in list(network.named_modules()):
            if isinstance(module, nn.Conv2d) and module.stride != (1, 1):
                network.set_submodule(name, StridedConv(module))
        return network

    def pooled(self, outputs: Any) -> Float[Tensor, "n hidden"]:
        """Take one row per image from the network's outputs."""
        rows: Tensor = outputs.pooler_output.flatten(1)
        return rows


class StridedConv(nn.Module):
    """The same convolution in a form whose gradient oneDNN computes correctly.

    Weight gradients of strided 1 × 1 kernels write past their workspace where channels are few
    (uxlfoundation/oneDNN#6035), and in bfloat16 those of maps one pixel wide read memory beside
    them, which now and then is not a number. Without a stride there is no fault: a 1 × 1 kernel
    sees the same pixels where the others are dropped first, and a map one pixel wide has none to
    skip.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = conv.weight
        self._stride: Any = conv.stride
        self._padding: Any = conv.padding

    def forward(
        self, maps: Float[Tensor, "n channels height width"]
    ) -> Float[Tensor, "n outputs rows columns"]:
        """Compute the convolution of `torch.nn.Conv2d`."""
        (row_step, column_step), kernel = self._stride, tuple(self.weight.shape[2:])
        if kernel == (1, 1):
            maps = maps[:, :, ::row_step, ::column_step]
            row_step = column_step = 1
        elif maps.shape[3] == 1:
            column_step = 1
        return nn.functional.conv2d(maps, self.weight, None, (row_step, column_step), self._padding)


@dataclass(frozen=True, slots=True)
class ViT:
    """A vision transformer on square patches; an embedding is the state of the class token."""

    kind: Literal["vit"] = "vit"
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    patch: int = 4

    def __post_init__(self) -> None:
        check_at_least(
            1, hidden=self.hidden, layers=self.layers, heads=self.heads, patch=self.patch
        )
        if self.hidden % self.heads:
            raise InputError(f"heads={self.heads} must divide hidden={self.hidden}")

    def backbone(self, height: int, width: int, channels: int) -> Any:
        """Make the network up to its last layer."""
        if height % self.patch or width % self.patch:
            raise InputError(f"patch={self.patch} must divide {height} × {width} pixels")
        transformers = require("transformers", "train")
        config = transformers.ViTConfig(
            image_size=(height, width),
            num_channels=channels,
            patch_size=self.patch,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=4 * self.hidden,
        )
        return transformers.ViTModel(config, add_pooling_layer=False)

    def pooled(self, outputs: Any) -> Float[Tensor, "n hidden"]:
        """Take one row per image from the network's outputs."""
        rows: Tensor = outputs.last_hidden_state[:, 0]
        return rows


class ImageModel(nn.Module):
    """A network from images of one size to embeddings of width `dim`.

    There is no projection where the backbone has that width. Pixels are standardised by the `mean`
    and the standard `deviation` of each channel.
    """

    def __init__(
        self,
        architecture: ResNet | ViT,
        dim: int,
        size: tuple[int, int, int],
        mean: tuple[float, ...],
        deviation: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.architecture, self.dim, self.size = architecture, dim, size
        self.mean, self.deviation = mean, deviation
        self.backbone = architecture.backbone(*size)
        hidden = architecture.hidden
        self.projection = nn.Identity() if hidden == dim else nn.Linear(hidden, dim, bias=False)

    def forward(self, pixels: UInt8[Tensor, "n height width channels"]) -> Float[Tensor, "n dim"]:
        """Compute one embedding per image, of any length."""
        if tuple(pixels.shape[1:]) != self.size:
            raise InputError(
                f"images are {tuple(pixels.shape[1:])} and the model takes {self.size}; resize them"
            )
        scales = (self.mean, self.deviation)
        mean, deviation = (pixels.new_tensor(values, dtype=torch.float32) for values in scales)
        scaled = (pixels.float() / 255 - mean) / deviation
        try:
            outputs = self.backbone(scaled.permute(0, 3, 1, 2))
        except ValueError as e:  # raised by batch norm for one value
            raise InputError(
                f"{len(pixels)} image(s) at a time are too few for this network ({e}); "
                "use larger batches"
            ) from None
        rows: Tensor = self.projection(self.architecture.pooled(outputs))
        return rows

    def save(self, folder: Path) -> None:
        """Write the configuration and the weights."""
        facts = {
            "architecture": asdict(self.architecture),
            "dim": self.dim,
            "size": self.size,
            "mean": self.mean,
            "deviation": self.deviation,
        }
        (folder / CONFIG).write_text(json.dumps(facts, indent=2), encoding="utf-8")
        require("safetensors.torch", "train").save_file(self.state_dict(), folder / WEIGHTS)

    @classmethod
    def load(cls, folder: Path) -> "ImageModel":
        """Load a saved model; `EncodeError` where it is missing or damaged."""
        safetensors = require("safetensors", "train")
        try:
            facts = parse_json((folder / CONFIG).read_text(encoding="utf-8"))
            settings = facts.pop("architecture")
            architecture = (ViT if settings["kind"] == "vit" else ResNet)(**settings)
            size, *scale = (tuple(facts[name]) for name in ("size", "mean", "deviation"))
            model = cls(architecture, facts["dim"], size, *scale)
            model.load_state_dict(require("safetensors.torch", "train").load_file(folder / WEIGHTS))
        except (
            OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError
        ) as e:  # fmt: skip
            raise EncodeError(
                f"{folder} holds no complete image model ({type(e).__name__}); train it again"
            ) from e
        model.eval()
        return model
