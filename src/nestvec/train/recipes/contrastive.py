"""The contrastive task of `train_text` and `train_clip`: left items are to find their texts."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nestvec.engine.task import EpochTask
from nestvec.engine.validators import check_at_least, check_positive
from nestvec.errors import DimsError, InputError
from nestvec.losses.cached import cached_encode
from nestvec.losses.distillation import guardrail
from nestvec.losses.info_nce import nested_info_nce
from nestvec.losses.nesting_dims import NestingDims, Weights
from nestvec.shapes import Bool, Float, Int64
from nestvec.train.data.mining import mine_hard_negatives
from nestvec.train.data.pairs import Pairs
from nestvec.train.evaluation.positive_ranks import positive_ranks, rank_at_dims
from nestvec.train.models.towers import Features, Tower, select_items, to_device


@dataclass(frozen=True, slots=True)
class Mining:
    """Hard negatives from the training documents, mined anew at the start of each epoch."""

    count: int = 1
    """How many per pair."""
    dims: int = 64
    """At which prefix."""
    margin: float = 0.0
    """Leave out what scores more than this above the right document at full width."""
    first_epoch: int = 0
    """Not before this epoch, counted from 0."""

    def __post_init__(self) -> None:
        check_at_least(1, **{"mining.count": self.count, "mining.dims": self.dims})
        check_at_least(0, **{"mining.first_epoch": self.first_epoch})
        if not math.isfinite(self.margin):
            raise InputError(f"mining.margin={self.margin} is to be a finite number")


@dataclass(frozen=True, slots=True, eq=False)
class ContrastiveConfig:
    """What is asked of pairs, whatever the towers."""

    dims: tuple[int, ...]
    weights: Weights
    temperature: float
    learn_temperature: bool
    bidirectional: bool
    at_once: int | None
    """Encode so many items at a time (GradCache); None: a batch at once."""
    guardrail: float
    """How much full width is held to that of a frozen copy of the towers; 0: not at all."""
    mining: Mining | None
    sizes: tuple[tuple[int, int], ...]
    """Which sizes of left and right items to evaluate."""
    metric: str
    measure: Callable[[Int64[np.ndarray, " q"]], float]

    def __post_init__(self) -> None:
        check_positive(temperature=self.temperature)
        check_at_least(1, at_once=self.at_once)
        check_at_least(0, guardrail=self.guardrail)

    def check_width(self, width: int) -> None:
        """Refuse sizes that vectors of this width do not have."""
        NestingDims.of(self.dims, width, self.weights)
        mined = () if self.mining is None else (self.mining.dims,)
        for name, sizes in {"measured": sum(self.sizes, ()), "mining.dims": mined}.items():
            wrong = [size for size in sizes if not 1 <= size <= width]
            if wrong:
                raise DimsError(
                    f"{name}={wrong[0]}, but the model has {width} dimensions; use 1 to {width}"
                )


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Features of the left items, the right items and then the negatives, piece by piece."""

    left: list[Features]
    right: list[Features]
    excluded: Bool[Tensor, "q candidates"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The embeddings of a batch, and what the frozen towers make of it."""

    left: Float[Tensor, "q dim"]
    right: Float[Tensor, "candidates dim"]
    frozen: tuple[Tensor, Tensor] | None


class ContrastTask(EpochTask):
    """Nested InfoNCE of two towers, or of one that encodes both sides."""

    mined: Tensor

    def __init__(
        self, left: Tower, right: Tower, train: Pairs, held_out: Pairs, goal: ContrastiveConfig
    ) -> None:
        super().__init__()
        if left.width != right.width:
            raise InputError(f"towers of widths {left.width} and {right.width} cannot be compared")
        goal.check_width(left.width)
        self.left, self.right, self.goal = left, right, goal
        self.train_pairs, self.held_out = train, held_out
        self.rows, self.metric = len(train), goal.metric
        # In a list, so that it is neither trained nor kept in checkpoints.
        self._frozen = [_frozen_copy(left, right)] if goal.guardrail else []
        self._answers = _Answers.of(train)
        numbers = {text: row for row, text in enumerate(train.right)}
        given = [numbers.get(text, -1) for text in train.negatives or ()]
        # Which right item a given negative is, and -1 for a text that is none.
        self._negatives = np.array(given, dtype=np.int64).reshape(self.rows, -1)
        start = torch.tensor(math.log(goal.temperature))
        self.log_temperature = nn.Parameter(start, requires_grad=goal.learn_temperature)
        count = goal.mining.count if goal.mining else 0
        self.register_buffer("mined", torch.full((self.rows, count), -1))

    def start_epoch(self, epoch: int) -> None:
        """Mine hard negatives with the model as it is now."""
        mining, pairs = self.goal.mining, self.train_pairs
        if mining is None or epoch < mining.first_epoch:
            return
        sides = (self.left.embed(pairs.left), self.right.embed(pairs.right), pairs.own)
        left, right, own = map(torch.from_numpy, sides)
        self.mined.copy_(
            mine_hard_negatives(left, right, own, mining.dims, mining.count, mining.margin)
        )

    def row_batch(self, rows: Int64[Tensor, " batch"], draw: torch.Generator) -> Batch:
        """Left items, their right ones, and the negatives that are given or mined."""
        pairs, numbers = self.train_pairs, rows.tolist()
        own, asked = pairs.own[rows.numpy()], pairs.asked[rows.numpy()]
        mined = self.mined[rows.to(self.device)].flatten().cpu().numpy()
        mined = mined[mined >= 0]
        texts = select_items(pairs.right, [*own.tolist(), *mined.tolist()])
        given = [] if pairs.negatives is None else select_items(pairs.negatives, numbers)
        candidates = np.concatenate([own, mined, self._negatives[rows.numpy()].ravel()])
        excluded = torch.from_numpy(self._answers.among(asked, candidates)).to(self.device)
        left = self._features(self.left, select_items(pairs.left, numbers))
        return Batch(left, self._features(self.right, texts + given), excluded)

    def _features(self, tower: Tower, items: Any) -> list[Features]:
        size = self.goal.at_once or len(items)
        pieces = [
            range(first, min(first + size, len(items))) for first in range(0, len(items), size)
        ]
        return [
            to_device(tower.features(select_items(items, piece)), self.device) for piece in pieces
        ]

    def forward(self, batch: Batch) -> Rows:
        """The embeddings of both sides."""
        left, right = (
            cached_encode(tower, pieces) if self.goal.at_once else tower(*pieces)
            for tower, pieces in ((self.left, batch.left), (self.right, batch.right))
        )
        return Rows(left, right, self._frozen_rows(batch))

    def _frozen_rows(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        if not self._frozen:
            return None
        towers = self._frozen[0].to(self.device)
        sides = (("left", batch.left), ("right", batch.right))
        with torch.no_grad():
            left, right = (torch.cat([towers[s](p) for p in pieces]) for s, pieces in sides)
        return left, right

    def loss(self, outputs: Rows, batch: Batch) -> Float[Tensor, ""]:
        """The nested InfoNCE, and the guardrail."""
        left, right = outputs.left.float(), outputs.right.float()
        goal, pairs = self.goal, len(left)
        loss = nested_info_nce(
            left,
            right[:pairs],
            goal.dims,
            self.log_temperature.exp() if goal.learn_temperature else goal.temperature,
            negatives=right[pairs:] if len(right) > pairs else None,
            weights=goal.weights,
            excluded=batch.excluded,
            bidirectional=goal.bidirectional,
        )
        if outputs.frozen is None:
            return loss
        before = torch.cat([rows.float() for rows in outputs.frozen])
        return loss + goal.guardrail * guardrail(torch.cat([left, right]), before)

    def evaluate(self) -> dict[str, float]:
        """How well held-out left items find their texts among all held-out ones, by sizes."""
        pairs = self.held_out
        left, right = self.left.embed(pairs.left), self.right.embed(pairs.right)
        scores = {}
        for sizes in self.goal.sizes:
            ranks = positive_ranks(*rank_at_dims(left, right, *sizes), pairs.own)
            name = str(sizes[0]) if sizes[0] == sizes[1] else f"{sizes[0]} x {sizes[1]}"
            scores[name] = self.goal.measure(ranks)
        return scores

    def save(self, folder: Path) -> None:
        """The tower, or both in `left` and `right`."""
        if self.left is self.right:
            self.left.save(folder)
            return
        towers: Mapping[str, Tower] = {"left": self.left, "right": self.right}
        for name, tower in towers.items():
            (folder / name).mkdir(exist_ok=True)
            tower.save(folder / name)


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """Which right items are known to answer which questions; equal questions share them."""

    stride: int
    keys: Int64[np.ndarray, " answers"]

    @classmethod
    def of(cls, pairs: Pairs) -> "_Answers":
        stride = len(pairs.right) + 1
        return cls(stride, np.unique(pairs.asked * stride + pairs.own))

    def among(
        self, asked: Int64[np.ndarray, " q"], candidates: Int64[np.ndarray, " n"]
    ) -> Bool[np.ndarray, "q n"]:
        """Which candidates answer which questions; a candidate −1 answers none."""
        # The last number of a stride is no right item, so −1 falls on no key.
        known: np.ndarray = np.isin(asked[:, None] * self.stride + candidates, self.keys)
        return known


def _frozen_copy(left: Tower, right: Tower) -> nn.ModuleDict:
    towers = nn.ModuleDict({"left": left, "right": right})
    return copy.deepcopy(towers).requires_grad_(False).eval()
