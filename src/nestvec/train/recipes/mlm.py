"""Masked language modelling by every prefix: a small BERT whose token states are nested."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nestvec.data import read_texts
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
_UNASKED = -100
_EVALUATED_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class TextFile:
    """Where texts are, and how many are held out."""

    texts: str
    """A .jsonl, .tsv, .csv or .txt file, also .gz."""
    column: str | None = None
    """The column with the text; else the usual ones."""
    held_out: int = 500
    limit: int | None = None
    """Read so many rows."""
    seed: int = 0

    def read(self) -> tuple[Texts, Texts]:
        """The texts to train on, and those held out."""
        texts = read_texts(Path(self.texts), self.column, limit=self.limit).texts
        kept, held = hold_out(len(texts), self.held_out, self.seed)
        return tuple(texts[row] for row in kept), tuple(texts[row] for row in held)


@dataclass(frozen=True, slots=True)
class MlmConfig:
    """A BERT from scratch, and how it is trained."""

    dims: tuple[int, ...] = (16, 32, 64, 128)
    """The sizes; the largest is `model.hidden`."""
    model: Bert = field(default_factory=Bert)
    weights: tuple[float, ...] | Literal["uniform", "front"] = "uniform"
    masked: float = 0.15
    """The share of tokens that are asked for."""
    loop: Loop = field(default_factory=Loop)

    def __post_init__(self) -> None:
        NestingDims.of(self.dims, self.model.hidden, self.weights)
        if max(self.dims) != self.model.hidden or not 0 < self.masked < 1:
            raise InputError(
                f"the largest of dims={list(self.dims)} is to be model.hidden={self.model.hidden}, "
                f"and masked={self.masked} a share between 0 and 1"
            )


def train_mlm(
    data: tuple[Texts, Texts], config: MlmConfig, folder: Path, listen: Listener = no_op
) -> TrainingResult:
    """Train on the first texts, held against the second, in `folder`; or go on there.

    Words are predicted from each prefix of a token's last state by the same columns of the token
    embeddings, which are input and output in one (MRL-E: Kusupati et al., 2022, §3). There is no
    transform before the output, so that the states themselves are nested. The metric is the share
    of masked tokens predicted, on the same masks each time. `folder / "model"` then holds a
    Sentence Transformers model, whose rows are the means of the states.
    """
    train, held_out = data
    place = RunFolder.for_run(folder, "mlm", config, fingerprint(*data))
    with seeded_global_rng(config.loop.seed, "model"):
        task = MlmTask(train, held_out, config)
    return train_task(task, config.loop, place, listen)


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """Tokens of which some are hidden, and what these were."""

    tokens: Int64[Tensor, "batch length"]
    attended: Int64[Tensor, "batch length"]
    labels: Int64[Tensor, "batch length"]


class MlmTask(EpochTask):
    """Nested cross-entropy of masked tokens."""

    metric = "accuracy of masked tokens"

    def __init__(self, train: Texts, held_out: Texts, config: MlmConfig) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = config.model.tokenizer(train)
        self.tokens, self.held_out = (
            self._numbers(texts) for texts in check_nonempty(train, held_out)
        )
        self.rows = len(self.tokens)
        self.model = config.model.model(self.tokenizer)
        self.bias = nn.Parameter(torch.zeros(len(self.tokenizer)))

    def _numbers(self, texts: Texts) -> Int64[Tensor, "n length"]:
        length = self.config.model.max_tokens
        made = self.tokenizer(list(texts), truncation=True, padding="max_length", max_length=length)
        return torch.tensor(made["input_ids"])

    def row_batch(self, rows: Int64[Tensor, " batch"], draw: torch.Generator) -> Masked:
        """Texts with other tokens masked each time."""
        return self._masked(self.tokens[rows], draw)

    def _masked(self, tokens: Int64[Tensor, "batch length"], draw: torch.Generator) -> Masked:
        attended = (tokens != self.tokenizer.pad_token_id).long()
        width = max(1, int(attended.sum(1).max()))
        tokens, attended = tokens[:, :width], attended[:, :width]
        hidden, labels = mask_tokens(tokens, self.tokenizer, self.config.masked, draw)
        return Masked(*(tensor.to(self.device) for tensor in (hidden, attended, labels)))

    def forward(self, batch: Masked) -> Float[Tensor, "batch length dim"]:
        """The last states of all tokens."""
        states: Tensor = self.model(batch.tokens, batch.attended).last_hidden_state
        return states

    def loss(self, outputs: Tensor, batch: Masked) -> Float[Tensor, ""]:
        """The mean over masked tokens of the losses of all sizes, weighted."""
        config = self.config
        return nested_masked_lm(
            outputs.float(), self._columns, batch.labels, config.dims, self.bias, config.weights
        )

    @property
    def _columns(self) -> Float[Tensor, "vocabulary dim"]:
        columns: Tensor = self.model.get_input_embeddings().weight
        return columns

    def evaluate(self) -> dict[str, float]:
        """The share of masked held-out tokens with the largest logit, by size."""
        dims = sorted(self.config.dims)
        right, asked = torch.zeros(len(dims), dtype=torch.int64), 0
        for batch in self._held_out():
            wanted = batch.labels != _UNASKED
            states, labels = self(batch)[wanted], batch.labels[wanted]
            chosen = [
                logits.argmax(1) for logits in tied_logits(states, self._columns, dims, self.bias)
            ]
            right += (torch.stack(chosen) == labels).sum(1).cpu()
            asked += len(labels)
        shares = (right.double() / max(1, asked)).tolist()
        return {str(dim): share for dim, share in zip(dims, shares, strict=True)}

    def _held_out(self) -> Iterator[Masked]:
        draw = generator(self.config.loop.seed, "held out")
        for tokens in self.held_out.split(_EVALUATED_AT_ONCE):
            yield self._masked(tokens, draw)

    def save(self, folder: Path) -> None:
        """As a Sentence Transformers model."""
        length = self.config.model.max_tokens
        bert.save(bert.as_sentence_transformer(self.model, self.tokenizer, length), folder)


def check_nonempty(train: Texts, held_out: Texts) -> tuple[Texts, Texts]:
    """Both sides, neither of them empty."""
    if not train or not held_out:
        raise InputError(f"{len(train)} texts to train on and {len(held_out)} held out; give some")
    return train, held_out


def mask_tokens(
    tokens: Int64[Tensor, "batch length"], tokenizer: Any, share: float, draw: torch.Generator
) -> tuple[Int64[Tensor, "batch length"], Int64[Tensor, "batch length"]]:
    """Some tokens hidden, and labels: what they were, −100 elsewhere.

    As BERT: of those asked for, 80 % become [MASK], 10 % another token at random, 10 % stay.
    Special tokens are never asked for.
    """
    special = torch.isin(tokens, torch.tensor(tokenizer.all_special_ids))
    asked = (torch.rand(tokens.shape, generator=draw) < share) & ~special
    how = torch.rand(tokens.shape, generator=draw)
    random = torch.randint(len(tokenizer), tokens.shape, generator=draw)
    hidden = torch.where(asked & (how < 0.8), tokenizer.mask_token_id, tokens)
    hidden = torch.where(asked & (how >= 0.8) & (how < 0.9), random, hidden)
    return hidden, torch.where(asked, tokens, _UNASKED)
