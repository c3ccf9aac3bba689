"""Small BERTs from a configuration, with a vocabulary learned from the texts at hand."""

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
    """A text transformer from scratch; its rows are the mean of its tokens' states."""

    kind: Literal["bert"] = "bert"
    hidden: int = 128
    layers: int = 2
    heads: int = 4
    vocabulary: int = 8000
    """At most so many word pieces."""
    max_tokens: int = 64
    """Longer texts are cut."""

    def __post_init__(self) -> None:
        check_at_least(1, hidden=self.hidden, layers=self.layers, heads=self.heads)
        if self.hidden % self.heads or self.max_tokens < 3 or self.vocabulary < 100:
            raise InputError(
                f"heads={self.heads} are to divide hidden={self.hidden}, max_tokens="
                f"{self.max_tokens} to be 3 or more and vocabulary={self.vocabulary} 100 or more"
            )

    def tokenizer(self, texts: Iterable[str]) -> Any:
        """Word pieces learned from texts, the same from the same texts."""
        pieces = wordpiece.learn(list(texts), self.vocabulary)
        return require("transformers", "train").BertTokenizerFast(
            tokenizer_object=pieces._tokenizer, model_max_length=self.max_tokens
        )

    def model(self, tokenizer: Any) -> Any:
        """A new transformer for this vocabulary."""
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
    """A Sentence Transformers model of a transformer, by the mean of its tokens' states."""
    library = require("sentence_transformers", "train")
    transformer, pooling = _modules("Transformer"), _modules("Pooling")
    # It loads from folders alone.
    with tempfile.TemporaryDirectory() as folder, without_bars():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        first = transformer(folder)
    first.max_seq_length = max_tokens
    mean = pooling(model.config.hidden_size, "mean")
    return library.SentenceTransformer(modules=[first, mean], device=str(model.device))


def with_projection(model: Any, dim: int, matrix: np.ndarray | None = None) -> Any:
    """A Sentence Transformers model with a linear map to `dim` behind it: drawn, or `matrix`."""
    library, dense = require("sentence_transformers", "train"), _modules("Dense")
    torch = require("torch", "train")
    last = dense(
        model.get_embedding_dimension(),
        dim,
        bias=False,
        activation_function=torch.nn.Identity(),
        init_weight=None if matrix is None else torch.from_numpy(matrix.T.copy()),
    )
    return library.SentenceTransformer(modules=[*model, last], device=str(model.device))


def _modules(name: str) -> Any:
    """A module class of Sentence Transformers."""
    return getattr(require("sentence_transformers.sentence_transformer.modules", "train"), name)


def save(model: Any, folder: Path) -> None:
    """Write a Sentence Transformers model, without a model card."""
    with without_bars():
        model.save(str(folder), create_model_card=False)
