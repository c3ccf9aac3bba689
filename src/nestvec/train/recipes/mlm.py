"""Masked language modelling by every prefix: a small BERT with nested token states."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nestvec.data import read_texts
from nestvec.deprecation import renamed_fields
from nestvec.engine.checkpoint import RunFolder, fingerprint
from nestvec.engine.loop import Listener, TrainingResult, no_op, train_task
from nestvec.engine.schedule import Loop
from nestvec.engine.seeding import generator, seeded_global_rng
from nestvec.engine.task import EpochTask
from nestvec.errors import InputError
from nestvec.losses.cross_entropy import nested_masked_lm, tied_logits
from nestvec.losses.nesting_dims import NestingDims
from nestvec.shapes import Float, Int64
from nestvec.train.data.held_out import hold_out
from nestvec.train.models import bert
from nestvec.train.models.bert import Bert

Texts = tuple[str, ...]
IGNORE_INDEX = -100
"""The label of a token that is not masked, as torch has it."""
_EVAL_BATCH_SIZE = 64


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file of texts, and the number of texts to hold out."""

    texts: str
    """A .jsonl, .tsv, .csv or .txt file, also .gz."""
    column: str | None = None
    """The column of the texts; None: one of the usual names."""
    held_out: int = 500
    limit: int | None = None
    """Read at most so many rows."""
    seed: int = 0

    def read(self) -> tuple[Texts, Texts]:
        """Read the texts to train on, and those held out."""
        texts = read_texts(Path(self.texts), self.column, limit=self.limit).texts
        sides = hold_out(len(texts), self.held_out, self.seed)
        train, held_out = (tuple(texts[row] for row in rows) for rows in sides)
        return train, held_out


@renamed_fields({"masked": "mask_share"})
@dataclass(frozen=True, slots=True)
class MlmConfig:
    """Settings of the recipe `mlm`: a BERT from scratch, and its training."""

    dims: tuple[int, ...] = (16, 32, 64, 128)
    """The nesting dims; the largest is `model.hidden`."""
    model: Bert = field(default_factory=Bert)
    weights: tuple[float, ...] | Literal["uniform", "front"] = "uniform"
    mask_share: float = 0.15
    """The share of tokens that are masked and predicted."""
    loop: Loop = field(default_factory=Loop)

    def __post_init__(self) -> None:
        NestingDims.of(self.dims, self.model.hidden, self.weights)
        if max(self.dims) != self.model.hidden or not 0 < self.mask_share < 1:
            raise InputError(
                f"the largest of dims={list(self.dims)} must be model.hidden={self.model.hidden}, "
                f"and mask_share={self.mask_share} must be between 0 and 1"
            )


def train_mlm(
    data: tuple[Texts, Texts], config: MlmConfig, folder: Path, listen: Listener = no_op
) -> TrainingResult:
    """Train on training texts and held-out texts in `folder`, or resume the run there.

    Tokens are predicted from each prefix of a token's last state by the same columns of the token
    embeddings, which are input and output in one (MRL-E: Kusupati et al., 2022, §3). There is no
    transform before the output, so that the states themselves are nested. The metric is the share
    of masked tokens predicted, with the same masks each time. `folder / "model"` then holds a
    Sentence Transformers model whose embeddings are the means of the states.
    """
    train, held_out = data
    run_folder = RunFolder.for_run(folder, "mlm", config, fingerprint(*data))
    with seeded_global_rng(config.loop.seed, "model"):
        task = MlmTask(train, held_out, config)
    return train_task(task, config.loop, run_folder, listen)


@dataclass(frozen=True, slots=True, eq=False)
class MaskedTokens:
    """Tokens of which some are masked, and labels with the masked ones."""

    tokens: Int64[Tensor, "batch length"]
    attention_mask: Int64[Tensor, "batch length"]
    labels: Int64[Tensor, "batch length"]


class MlmTask(EpochTask):
    """Nested cross-entropy of masked tokens."""

    metric = "accuracy of masked tokens"

    def __init__(self, train: Texts, held_out: Texts, config: MlmConfig) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = config.model.tokenizer(train)
        self.tokens, self.held_out = (
            self._token_ids(texts) for texts in check_nonempty(train, held_out)
        )
        self.rows = len(self.tokens)
        self.model = config.model.model(self.tokenizer)
        self.bias = nn.Parameter(torch.zeros(len(self.tokenizer)))

    def _token_ids(self, texts: Texts) -> Int64[Tensor, "n length"]:
        length = self.config.model.max_tokens
        encoding = self.tokenizer(
            list(texts), truncation=True, padding="max_length", max_length=length
        )
        return torch.tensor(encoding["input_ids"])

    def row_batch(self, rows: Int64[Tensor, " batch"], generator: torch.Generator) -> MaskedTokens:
        """Select texts and mask some of their tokens, others each time."""
        return self._mask(self.tokens[rows], generator)

    def _mask(
        self, tokens: Int64[Tensor, "batch length"], generator: torch.Generator
    ) -> MaskedTokens:
        attention_mask = (tokens != self.tokenizer.pad_token_id).long()
        length = max(1, int(attention_mask.sum(1).max()))
        tokens, attention_mask = tokens[:, :length], attention_mask[:, :length]
        masked, labels = mask_tokens(tokens, self.tokenizer, self.config.mask_share, generator)
        return MaskedTokens(
            *(tensor.to(self.device) for tensor in (masked, attention_mask, labels))
        )

    def forward(self, batch: MaskedTokens) -> Float[Tensor, "batch length dim"]:
        """Compute the last states of all tokens."""
        states: Tensor = self.model(batch.tokens, batch.attention_mask).last_hidden_state
        return states

    def loss(self, outputs: Tensor, batch: MaskedTokens) -> Float[Tensor, ""]:
        """Compute the weighted sum of the losses of all prefixes, averaged over masked tokens."""
        config = self.config
        return nested_masked_lm(
            outputs.float(),
            self._token_embeddings,
            batch.labels,
            config.dims,
            self.bias,
            config.weights,
        )

    @property
    def _token_embeddings(self) -> Float[Tensor, "vocabulary dim"]:
        embeddings: Tensor = self.model.get_input_embeddings().weight
        return embeddings

    def evaluate(self) -> dict[str, float]:
        """Compute the share of masked held-out tokens with the largest logit, by dims."""
        dims = sorted(self.config.dims)
        correct, n_masked = torch.zeros(len(dims), dtype=torch.int64), 0
        for batch in self._held_out():
            is_masked = batch.labels != IGNORE_INDEX
            states, labels = self(batch)[is_masked], batch.labels[is_masked]
            tokens = [
                logits.argmax(1)
                for logits in tied_logits(states, self._token_embeddings, dims, self.bias)
            ]
            correct += (torch.stack(tokens) == labels).sum(1).cpu()
            n_masked += len(labels)
        shares = (correct.double() / max(1, n_masked)).tolist()
        return {str(dim): share for dim, share in zip(dims, shares, strict=True)}

    def _held_out(self) -> Iterator[MaskedTokens]:
        rng = generator(self.config.loop.seed, "held out")
        for tokens in self.held_out.split(_EVAL_BATCH_SIZE):
            yield self._mask(tokens, rng)

    def save(self, folder: Path) -> None:
        """Save as a Sentence Transformers model."""
        length = self.config.model.max_tokens
        bert.save(bert.as_sentence_transformer(self.model, self.tokenizer, length), folder)


def check_nonempty(train: Texts, held_out: Texts) -> tuple[Texts, Texts]:
    """Return both sides; `InputError` where one is empty."""
    if not train or not held_out:
        raise InputError(
            f"{len(train)} texts to train on and {len(held_out)} held out; pass some of both"
        )
    return train, held_out


def mask_tokens(
    tokens: Int64[Tensor, "batch length"], tokenizer: Any, share: float, generator: torch.Generator
) -> tuple[Int64[Tensor, "batch length"], Int64[Tensor, "batch length"]]:
    """Mask a share of the tokens; labels are the masked tokens, and −100 elsewhere.

    As in BERT: 80 % of them become [MASK], 10 % a random token, and 10 % stay. Special tokens are
    never masked.
    """
    special = torch.isin(tokens, torch.tensor(tokenizer.all_special_ids))
    is_masked = (torch.rand(tokens.shape, generator=generator) < share) & ~special
    kind = torch.rand(tokens.shape, generator=generator)
    random = torch.randint(len(tokenizer), tokens.shape, generator=generator)
    masked = torch.where(is_masked & (kind < 0.8), tokenizer.mask_token_id, tokens)
    masked = torch.where(is_masked & (kind >= 0.8) & (kind < 0.9), random, masked)
    return masked, torch.where(is_masked, tokens, IGNORE_INDEX)
