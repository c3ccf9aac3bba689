"""The protocol of encoders: a named model that turns texts into unit rows."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from nestvec.errors import EncodeError, InputError
from nestvec.progress import Progress, silent
from nestvec.shapes import Float, Float32
from nestvec.vectors import normalize


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model that made the vectors. Vectors are comparable when all fields are equal.

    `name` is what `open_encoder` takes; `revision` is a commit, a version or a content hash, and
    None where the model's owner tells none (the embedding APIs); `dim` is the width of the rows;
    `base_url` is the address of an embedding API, without credentials, and None for local models.
    """

    name: str
    revision: str | None
    dim: int
    base_url: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields to write down; without `base_url` where there is none."""
        fields = asdict(self)
        return {name: fields[name] for name in fields if name != "base_url" or fields[name]}


@runtime_checkable
class Encoder(Protocol):
    """The one thing the rest of nestvec knows of a model. Any object of this form will do."""

    @property
    def info(self) -> ModelInfo:
        """The model's name, revision and width, known before the first text is encoded."""
        ...

    def encode(
        self, items: Sequence[str], progress: Progress = silent
    ) -> Float32[np.ndarray, "n dim"]:
        """One unit row per text, in the order given; no texts give shape (0, dim).

        Raises `InputError` for anything but texts and `EncodeError` when the model gives no usable
        vector for one of them.
        """
        ...


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

    Else `EncodeError` naming the first bad row. A row of zeros is one: it has no direction,
    so its every score would be meaningless.
    """
    usable = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
    if not usable.all():
        row = int(np.flatnonzero(~usable)[0])
        raise EncodeError(
            f"{model} gave a vector without direction (zeros, NaN or infinity) for text {row} of "
            f"{len(vectors)}; leave that text out or use another model"
        )
    return normalize(vectors).astype(np.float32, copy=False)
