"""The protocol of encoders: a named model that turns texts into unit rows."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from nestvec.encode.prompts import Prompts, Side
from nestvec.errors import BadTextError, DimsError, InputError
from nestvec.progress import Progress, silent
from nestvec.shapes import Float, Float32
from nestvec.vectors import normalize


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model of vectors. Vectors are comparable when all fields are equal.

    `name` is what `open_encoder` takes; `revision` is a commit, a version or a content hash, and
    None where the model's owner tells none (the embedding APIs); `dim` is the width of the rows;
    `base_url` is the address of an embedding API, without credentials, and None for local models.
    `prompts` are put before queries and documents, None for a model without any; `dims` is the
    prefix that rows were truncated to, None where they have the width of the model.
    """

    name: str
    revision: str | None
    dim: int
    base_url: str | None = None
    prompts: Prompts | None = None
    dims: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields to write down; those behind `dim` only where they are set."""
        record: dict[str, Any] = {"name": self.name, "revision": self.revision, "dim": self.dim}
        if self.base_url:
            record["base_url"] = self.base_url
        if self.prompts is not None:
            record["prompts"] = self.prompts.to_json()
        return record if self.dims is None else {**record, "dims": self.dims}


def truncated(
    rows: Float[np.ndarray, "n dim"], dims: int | None, model: str
) -> Float[np.ndarray, "n dims"]:
    """The first `dims` dimensions of each row, not yet renormalised; all of them for None."""
    if dims is None:
        return rows
    if dims > rows.shape[1]:
        raise DimsError(
            f"dims={dims} is wider than the vectors of {model} ({rows.shape[1]}); use dims <= "
            f"{rows.shape[1]}"
        )
    return rows[:, :dims]


def check_prefix(dims: int | None) -> int | None:
    """Return `dims`, else `DimsError` for no whole number above 0; the width is not known yet."""
    if dims is None:
        return None
    if isinstance(dims, bool) or not isinstance(dims, int | np.integer) or dims < 1:
        raise DimsError(f"dims={dims!r} is no whole number above 0; use 1 or more, or leave it out")
    return int(dims)


@runtime_checkable
class Encoder(Protocol):
    """The one thing the rest of nestvec knows of a model. Any object of this form will do.

    An encoder that treats queries and documents differently also has `encode_query` and
    `encode_document`, with the parameters of `encode`: the names of Sentence Transformers. Its
    `info.prompts` says what each puts before a text. Without them `encode` serves both sides.
    """

    @property
    def info(self) -> ModelInfo:
        """The model's name, revision and width, known before the first text is encoded."""
        ...

    def encode(
        self, items: Sequence[str], progress: Progress = silent
    ) -> Float32[np.ndarray, "n dim"]:
        """Return one unit row per text, in the same order; no texts give shape (0, dim).

        Raises `InputError` for anything but texts and `EncodeError` when the model gives no usable
        vector for one of them.
        """
        ...


def encode_side(
    encoder: Encoder, side: Side, texts: Sequence[str], progress: Progress = silent
) -> Float32[np.ndarray, "n dim"]:
    """Encode texts as queries or as documents; by `encode` where the encoder has no sides.

    An encoder need not report progress: it may take the texts alone.
    """
    method: Callable[..., Any] = getattr(encoder, f"encode_{side}", None) or encoder.encode
    rows = method(texts, progress) if _takes_progress(method) else method(texts)
    return np.asarray(rows, dtype=np.float32)


def encode_plain(
    encoder: Encoder, texts: Sequence[str], progress: Progress = silent
) -> Float32[np.ndarray, "n dim"]:
    """Encode texts of no side, such as those to classify; without the warning of `encode`."""
    method: Callable[..., Any] = getattr(encoder, "encode_without_side", encoder.encode)
    rows = method(texts, progress) if _takes_progress(method) else method(texts)
    return np.asarray(rows, dtype=np.float32)


def _takes_progress(method: Callable[..., Any]) -> bool:
    try:
        inspect.signature(method).bind([], silent)
    except TypeError:
        return False
    except ValueError:  # a method of a compiled module says nothing of its parameters
        return False
    return True


def check_texts(items: object) -> list[str]:
    """The texts as a list, else `InputError`; a bare string is one text too few brackets."""
    if isinstance(items, str | bytes):
        raise InputError(f"items is the single text {items[:40]!r}; give a list of texts: [text]")
    if not isinstance(items, Iterable):
        raise InputError(f"items is a {type(items).__name__}; give a list of texts")
    texts = list(items)
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(
                f"items[{position}] is a {type(text).__name__}, not a text; "
                "convert it with str() or leave it out"
            )
        try:
            text.encode()
        except UnicodeEncodeError:
            # No tokenizer and no JSON body takes half of a surrogate pair.
            raise InputError(
                f"items[{position}] holds half a character (a lone surrogate); decode the file "
                "it came from with errors='replace'"
            ) from None
    return texts


def unit_rows(vectors: Float[np.ndarray, "n dim"], model: str) -> Float32[np.ndarray, "n dim"]:
    """A model's rows scaled to unit length, in float32.

    Else `BadTextError` naming the first bad row. A row of zeros is one: it has no direction,
    so its every score would be meaningless.
    """
    usable = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
    cleaned = vectors if usable.all() else np.where(usable[:, None], vectors, 0)
    rows = normalize(cleaned).astype(np.float32, copy=False)
    if not usable.all():
        bad = np.flatnonzero(~usable).tolist()
        raise BadTextError(
            f"{model} gave a vector without direction (zeros, NaN or infinity) for text {bad[0]} "
            f"of {len(vectors)}; leave that text out or use another model",
            dict.fromkeys(bad, "has a vector without direction (zeros, NaN or infinity)"),
            rows,
        )
    return rows
