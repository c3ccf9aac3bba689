"""Small BERT models from a configuration, with a vocabulary learned from the training texts."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nestvec.encode.checkpoint import without_bars
from nestvec.engine.validators import check_at_least
from nestvec.errors import InputError
from nestvec.extras import require
from nestvec.train.models import wordpiece


@dataclass(frozen=True, slots=True)
class Bert:
    """A text transformer trained from scratch; an embedding is the mean of the token states."""

    kind: Literal["bert"] = "bert"
    hidden: int = 128
    layers: int = 2
    heads: int = 4
    vocabulary: int = 8000
    """The largest number of word pieces."""
    max_tokens: int = 64
    """Longer texts are truncated."""

    def __post_init__(self) -> None:
        check_at_least(1, hidden=self.hidden, layers=self.layers, heads=self.heads)
        if self.hidden % self.heads or self.max_tokens < 3 or self.vocabulary < 100:
            raise InputError(
                f"heads={self.heads} must divide hidden={self.hidden}, max_tokens="
                f"{self.max_tokens} be 3 or more and vocabulary={self.vocabulary} 100 or more"
            )

    def tokenizer(self, texts: Iterable[str]) -> Any:
        """Learn word pieces from texts; equal texts give equal pieces."""
        pieces = wordpiece.learn(list(texts), self.vocabulary)
        return require("transformers", "train").BertTokenizerFast(
            tokenizer_object=pieces._tokenizer, model_max_length=self.max_tokens
        )

    def model(self, tokenizer: Any) -> Any:
        """Make a new transformer for this vocabulary."""
        transformers = require("transformers", "train")
        config = transformers.BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=4 * self.hidden,
            max_position_embeddings=self.max_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )
        return transformers.BertModel(config)


def as_sentence_transformer(model: Any, tokenizer: Any, max_tokens: int) -> Any:
    """Make a Sentence Transformers model of a transformer and mean pooling of its token states."""
    library = require("sentence_transformers", "train")
    transformer, pooling = _modules("Transformer"), _modules("Pooling")
    # The module `Transformer` loads only from folders.
    with tempfile.TemporaryDirectory() as folder, without_bars():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        encoder = transformer(folder)
    encoder.max_seq_length = max_tokens
    mean = pooling(model.config.hidden_size, "mean")
    return library.SentenceTransformer(modules=[encoder, mean], device=str(model.device))


def with_projection(model: Any, dim: int, matrix: np.ndarray | None = None) -> Any:
    """Add a linear map to `dim` to a Sentence Transformers model: random, or `matrix`."""
    library, dense = require("sentence_transformers", "train"), _modules("Dense")
    torch = require("torch", "train")
    projection = dense(
        model.get_embedding_dimension(),
        dim,
        bias=False,
        activation_function=torch.nn.Identity(),
        init_weight=None if matrix is None else torch.from_numpy(matrix.T.copy()),
    )
    return library.SentenceTransformer(modules=[*model, projection], device=str(model.device))


def _modules(name: str) -> Any:
    """Import a module class of Sentence Transformers."""
    return getattr(require("sentence_transformers.sentence_transformer.modules", "train"), name)


def save(model: Any, folder: Path) -> None:
    """Write a Sentence Transformers model, without a model card."""
    with without_bars():
        model.save(str(folder), create_model_card=False)
