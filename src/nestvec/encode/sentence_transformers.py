"""Sentence Transformers models on this machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nestvec.encode.checkpoint import PACKAGED, load_checkpoint
from nestvec.encode.encoder import ModelInfo, check_texts, unit_rows
from nestvec.errors import InputError
from nestvec.extras import require
from nestvec.progress import Progress, silent
from nestvec.shapes import Float32

Precision = Literal["auto", "float32", "bfloat16"]


class SentenceTransformerEncoder:
    """A Sentence Transformers model, by folder or by name; `"minilm"` is the packaged default.

    `precision="auto"` computes in bfloat16 on a CPU with instructions for it (twice as fast; the
    rows lie within a cosine distance of about 1e-4 from float32's) and in float32 elsewhere.
    `batch_size=None` means 16 on a CPU (the fastest of 16..128 on two cores) and 128 elsewhere.
    `revision`, `download` and `cache_dir` apply to models of the Hugging Face hub only.

    A text is cut at the model's own maximum length (256 tokens for the default). Rows come out in
    input order; the batch that a text falls into changes its row by rounding only.
    """

    def __init__(
        self,
        name: str = PACKAGED,
        *,
        device: str | None = None,
        precision: Precision = "auto",
        batch_size: int | None = None,
        revision: str | None = None,
        download: bool = True,
        cache_dir: Path | None = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size={batch_size} is below 1; use 1 or more, or leave it out")
        torch = require("torch", "text")
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = _dtype(torch, device, precision)
        checkpoint = load_checkpoint(
            name, device=device, revision=revision, download=download, cache_dir=cache_dir
        )
        self._model = checkpoint.model.to(dtype)
        self._batch_size = batch_size or (16 if device == "cpu" else 128)
        # One text tells the width under every version of the library, and that the model runs.
        dim = self._forward(["width"]).shape[1]
        self.info = ModelInfo(checkpoint.name, checkpoint.revision, dim)

    def __repr__(self) -> str:
        return f"SentenceTransformerEncoder({self.info.name!r}, dim={self.info.dim})"

    def encode(
        self, items: Sequence[str], progress: Progress = silent
    ) -> Float32[np.ndarray, "n dim"]:
        """One unit row per text, in the order given; no texts give shape (0, dim)."""
        texts = check_texts(items)
        rows = np.empty((len(texts), self.info.dim), dtype=np.float32)
        # Texts of like length share a batch, so that little of it is padding. Longest first: the
        # batch that needs the most memory fails at once, not after an hour.
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        with progress("Encoding", len(texts)) as advance:
            for start in range(0, len(order), self._batch_size):
                batch = order[start : start + self._batch_size]
                rows[batch] = self._forward([texts[i] for i in batch])
                advance(len(batch))
        # After the model, in float32: a bfloat16 row is of unit length to three digits only.
        return unit_rows(rows, self.info.name)

    def _forward(self, batch: list[str]) -> Float32[np.ndarray, "n dim"]:
        rows: np.ndarray = self._model.encode(
            batch, batch_size=len(batch), show_progress_bar=False, convert_to_numpy=True
        )
        return rows.astype(np.float32, copy=False)


def _dtype(torch: Any, device: str, precision: Precision) -> Any:
    if precision not in ("auto", "float32", "bfloat16"):
        raise InputError(f"precision={precision!r} is unknown; use auto, float32 or bfloat16")
    if precision == "auto":
        precision = "bfloat16" if device == "cpu" and _has_bfloat16(torch) else "float32"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def _has_bfloat16(torch: Any) -> bool:
    """Tell whether the CPU computes in bfloat16 itself: emulated, it is slower than float32.

    Asks torch, which asks the processor. A torch too old to tell counts as "no".
    """
    capabilities: dict[str, Any] = dict(getattr(torch.cpu, "get_capabilities", dict)())
    return any(capabilities.get(feature, False) for feature in ("avx512_bf16", "amx_bf16"))
