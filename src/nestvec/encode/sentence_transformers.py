"""Sentence Transformers models on this machine."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nestvec.encode.checkpoint import PACKAGED, load_checkpoint
from nestvec.encode.encoder import ModelInfo, check_prefix, check_texts, truncated, unit_rows
from nestvec.encode.prompts import SIDES, Prompts, Side
from nestvec.errors import InputError
from nestvec.extras import require
from nestvec.progress import Progress, silent
from nestvec.shapes import Float32

Precision = Literal["auto", "float32", "bfloat16"]

_logger = logging.getLogger(__name__)

# As in `SentenceTransformer.encode_document`; but an empty prompt, which the library adds under the
# first of the names, does not hide one that a model has under another.
_PROMPT_NAMES = {"query": ("query",), "document": ("document", "passage", "corpus")}


class SentenceTransformerEncoder:
    """A Sentence Transformers model, by folder or by name; `"minilm"` is the packaged default.

    `precision="auto"` computes in bfloat16 on a CPU with instructions for it (twice as fast; the
    rows lie within a cosine distance of about 1e-4 from float32's) and in float32 elsewhere.
    `batch_size=None` means 16 on a CPU (the fastest of 16..128 on two cores) and 128 elsewhere.
    `revision`, `download` and `cache_dir` apply to models of the Hugging Face hub only.
    `trust_remote_code` runs the code that a model brings with it. `dims` truncates all rows.

    `encode_query` and `encode_document` put the prompts of the model before texts, or those that
    `prompts` has for "query" and "document" ("" for none); `encode` puts the model's default
    prompt, which few models have.

    A text is truncated at the model's maximum length (256 tokens for the default). Rows are in
    input order; the batch that a text falls into changes its row by rounding only.
    """

    def __init__(  # noqa: PLR0913  one call says all about a model and how to run it
        self,
        name: str = PACKAGED,
        *,
        device: str | None = None,
        precision: Precision = "auto",
        batch_size: int | None = None,
        revision: str | None = None,
        download: bool = True,
        cache_dir: Path | None = None,
        dims: int | None = None,
        prompts: Mapping[Side, str] | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        dims = check_prefix(dims)
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size={batch_size} is below 1; use 1 or more, or leave it out")
        torch = require("torch", "text")
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = _dtype(torch, device, precision)
        checkpoint = load_checkpoint(
            name,
            device=device,
            revision=revision,
            download=download,
            cache_dir=cache_dir,
            trust_remote_code=trust_remote_code,
        )
        self._model = checkpoint.model.to(dtype)
        self._batch_size = batch_size or (16 if device == "cpu" else 128)
        self._dims = dims
        model_prompts = _model_prompts(self._model)
        self._prompts = replace(
            model_prompts, **{str(side): text for side, text in (prompts or {}).items()}
        )
        self._without_side = _default_prompt(self._model)
        self._warned = False
        # One text tells the width under every version of the library, and that the model runs.
        dim = truncated(self._forward(["width"], None), dims, checkpoint.name).shape[1]
        # No prompts are recorded only where a text is the same on both sides and on none.
        has_prompts = (
            bool(prompts)
            or _is_routed(self._model)
            or model_prompts != Prompts()
            or bool(self._without_side)
        )
        recorded = self._prompts if has_prompts else None
        self.info = ModelInfo(checkpoint.name, checkpoint.revision, dim, None, recorded, dims)

    def __repr__(self) -> str:
        return f"SentenceTransformerEncoder({self.info.name!r}, dim={self.info.dim})"

    def encode(
        self, items: Sequence[str], progress: Progress = silent
    ) -> Float32[np.ndarray, "n dim"]:
        """Return one unit row per text, in the same order; no texts give shape (0, dim).

        For a model with prompts this is neither a query nor a document, and a warning says so.
        """
        if self.info.prompts is not None and not self._warned:
            self._warned = True
            _logger.warning(
                "%s has prompts, and encode() puts %s before texts; use encode_query() for "
                "queries and encode_document() for documents",
                self.info.name,
                repr(self._without_side) if self._without_side else "none",
            )
        return self._encode(items, None, progress)

    def encode_query(
        self, items: Sequence[str], progress: Progress = silent
    ) -> Float32[np.ndarray, "n dim"]:
        """One unit row per text, each with the prompt of queries before it."""
        return self._encode(items, "query", progress)

    def encode_document(
        self, items: Sequence[str], progress: Progress = silent
    ) -> Float32[np.ndarray, "n dim"]:
        """One unit row per text, each with the prompt of documents before it."""
        return self._encode(items, "document", progress)

    def encode_without_side(
        self, items: Sequence[str], progress: Progress = silent
    ) -> Float32[np.ndarray, "n dim"]:
        """Encode as `encode` does, for callers that know the model has prompts."""
        return self._encode(items, None, progress)

    def _encode(
        self, items: Sequence[str], side: Side | None, progress: Progress
    ) -> Float32[np.ndarray, "n dim"]:
        texts = check_texts(items)
        rows = np.empty((len(texts), self.info.dim), dtype=np.float32)
        # Texts of like length share a batch, so that little of it is padding. Longest first: the
        # batch that needs the most memory fails at once, not after an hour.
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        with progress("Encoding", len(texts)) as advance:
            for start in range(0, len(order), self._batch_size):
                batch = order[start : start + self._batch_size]
                encoded = self._forward([texts[i] for i in batch], side)
                rows[batch] = truncated(encoded, self._dims, self.info.name)
                advance(len(batch))
        # After the model, in float32: a bfloat16 row is of unit length to three digits only.
        return unit_rows(rows, self.info.name)

    def _forward(self, batch: list[str], side: Side | None) -> Float32[np.ndarray, "n dim"]:
        options = {
            "batch_size": len(batch),
            "show_progress_bar": False,
            "convert_to_numpy": True,
        }
        if side is None:
            rows = self._model.encode(batch, **options)
        else:
            # A model of two towers routes by the method; the prompt is the same in both versions.
            method = getattr(self._model, f"encode_{side}", self._model.encode)
            rows = method(batch, prompt=self._prompts.of(side), **options)
        float32: Float32[np.ndarray, "n dim"] = rows.astype(np.float32, copy=False)
        return float32


def _model_prompts(model: Any) -> Prompts:
    """Read the prompts in the files of a model, as texts; "" for none."""
    named: dict[str, str] = getattr(model, "prompts", None) or {}
    return Prompts(
        *(
            next((named[name] for name in _PROMPT_NAMES[side] if named.get(name)), "")
            for side in SIDES
        )
    )


def _is_routed(model: Any) -> bool:
    """Tell whether queries and documents go through different modules of a model."""
    return any(type(module).__name__ in ("Router", "Asym") for module in model)


def _default_prompt(model: Any) -> str:
    """The prompt that the library puts before texts of no side."""
    named: dict[str, str] = getattr(model, "prompts", None) or {}
    return named.get(getattr(model, "default_prompt_name", None) or "") or ""


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
