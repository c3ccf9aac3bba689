"""The contrastive task of `train_text` and `train_clip`: each query learns to find its positive."""

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
from nestvec.train.evaluation.positive_ranks import positive_ranks, truncate_sides
from nestvec.train.models.towers import Features, Tower, select_items, to_device


@dataclass(frozen=True, slots=True)
class Mining:
    """Hard negatives from the training documents, mined again at the start of each epoch."""

    count: int = 1
    """Negatives per pair."""
    dims: int = 64
    """The prefix at which documents are ranked."""
    margin: float = 0.0
    """Leave out documents that score more than this above the positive at full width."""
    first_epoch: int = 0
    """The epoch in which mining begins, counted from 0."""

    def __post_init__(self) -> None:
        check_at_least(1, **{"mining.count": self.count, "mining.dims": self.dims})
        check_at_least(0, **{"mining.first_epoch": self.first_epoch})
        if not math.isfinite(self.margin):
            raise InputError(f"mining.margin={self.margin} must be a finite number")


@dataclass(frozen=True, slots=True, eq=False)
class ContrastiveConfig:
    """The loss and the evaluation of pairs, whatever the towers."""

    dims: tuple[int, ...]
    weights: Weights
    temperature: float
    learn_temperature: bool
    bidirectional: bool
    mini_batch_size: int | None
    """Items to encode at a time (GradCache); None: the whole batch."""
    guardrail: float
    """The weight of the guardrail, which compares full width with that of a frozen copy."""
    mining: Mining | None
    eval_dims: tuple[tuple[int, int], ...]
    """Pairs of query dims and document dims to evaluate."""
    metric: str
    measure: Callable[[Int64[np.ndarray, " q"]], float]
    """The metric of the ranks of the positives."""

    def __post_init__(self) -> None:
        check_positive(temperature=self.temperature)
        check_at_least(1, mini_batch_size=self.mini_batch_size)
        check_at_least(0, guardrail=self.guardrail)

    def check_width(self, width: int) -> None:
        """Raise `DimsError` for dims that vectors of this width do not have."""
        NestingDims.of(self.dims, width, self.weights)
        mining_dims = () if self.mining is None else (self.mining.dims,)
        settings = {"eval_dims": sum(self.eval_dims, ()), "mining.dims": mining_dims}
        for name, values in settings.items():
            wrong = [dims for dims in values if not 1 <= dims <= width]
            if wrong:
                raise DimsError(
                    f"{name}={wrong[0]}, but the model has {width} dimensions; use 1 to {width}"
                )


@dataclass(frozen=True, slots=True, eq=False)
class ContrastBatch:
    """Features of queries, and of documents with the negatives after them, in mini-batches."""

    queries: list[Features]
    documents: list[Features]
    excluded: Bool[Tensor, "q candidates"]


@dataclass(frozen=True, slots=True, eq=False)
class BatchEmbeddings:
    """The embeddings of a batch, and those of the frozen towers where there are some."""

    queries: Float[Tensor, "q dim"]
    documents: Float[Tensor, "candidates dim"]
    frozen: tuple[Tensor, Tensor] | None


class ContrastTask(EpochTask):
    """Nested InfoNCE of two towers, or of one that encodes both queries and documents."""

    mined: Tensor

    def __init__(
        self,
        query_tower: Tower,
        document_tower: Tower,
        train: Pairs,
        held_out: Pairs,
        config: ContrastiveConfig,
    ) -> None:
        super().__init__()
        if query_tower.width != document_tower.width:
            raise InputError(
                f"towers of widths {query_tower.width} and {document_tower.width} cannot be "
                "compared; give both one width"
            )
        config.check_width(query_tower.width)
        # The names of these three, and of `log_temperature`, are those of checkpoints.
        self.left, self.right = query_tower, document_tower
        count = config.mining.count if config.mining else 0
        self.register_buffer("mined", torch.full((len(train), count), -1))
        start = torch.tensor(math.log(config.temperature))
        self.log_temperature = nn.Parameter(start, requires_grad=config.learn_temperature)
        self.config, self.train_pairs, self.held_out = config, train, held_out
        self.rows, self.metric = len(train), config.metric
        # In a list, so that it is neither trained nor saved in checkpoints.
        self.frozen_copy = [_freeze(query_tower, document_tower)] if config.guardrail else []
        self._known_positives = KnownPositives.from_pairs(train)
        numbers = {text: row for row, text in enumerate(train.documents)}
        negatives = [numbers.get(text, -1) for text in train.negatives or ()]
        # The document that a row's negative equals; −1 for a text that is no document.
        self._negatives = np.array(negatives, dtype=np.int64).reshape(self.rows, -1)

    def start_epoch(self, epoch: int) -> None:
        """Mine hard negatives with the current model."""
        mining, pairs = self.config.mining, self.train_pairs
        if mining is None or epoch < mining.first_epoch:
            return
        embeddings = self.left.embed(pairs.queries), self.right.embed(pairs.documents)
        queries, documents, positives = map(torch.from_numpy, (*embeddings, pairs.positives))
        self.mined.copy_(
            mine_hard_negatives(
                queries, documents, positives, mining.dims, mining.count, mining.margin
            )
        )

    def row_batch(self, rows: Int64[Tensor, " batch"], generator: torch.Generator) -> ContrastBatch:
        """Select queries, their positives, and their mined and other negatives."""
        pairs, numbers = self.train_pairs, rows.tolist()
        positives, query_ids = pairs.positives[rows.numpy()], pairs.query_ids[rows.numpy()]
        mined = self.mined[rows.to(self.device)].flatten().cpu().numpy()
        mined = mined[mined >= 0]
        documents = select_items(pairs.documents, [*positives.tolist(), *mined.tolist()])
        if pairs.negatives is not None:
            documents = documents + select_items(pairs.negatives, numbers)
        candidates = np.concatenate([positives, mined, self._negatives[rows.numpy()].ravel()])
        excluded = torch.from_numpy(self._known_positives.matches(query_ids, candidates))
        queries = self._features(self.left, select_items(pairs.queries, numbers))
        return ContrastBatch(
            queries, self._features(self.right, documents), excluded.to(self.device)
        )

    def _features(self, tower: Tower, items: Any) -> list[Features]:
        size = self.config.mini_batch_size or len(items)
        ranges = [
            range(start, min(start + size, len(items))) for start in range(0, len(items), size)
        ]
        return [
            to_device(tower.features(select_items(items, rows)), self.device) for rows in ranges
        ]

    def forward(self, batch: ContrastBatch) -> BatchEmbeddings:
        """Encode queries and documents."""
        queries, documents = (
            cached_encode(tower, features) if self.config.mini_batch_size else tower(*features)
            for tower, features in ((self.left, batch.queries), (self.right, batch.documents))
        )
        return BatchEmbeddings(queries, documents, self._encode_frozen(batch))

    def _encode_frozen(self, batch: ContrastBatch) -> tuple[Tensor, Tensor] | None:
        if not self.frozen_copy:
            return None
        towers = self.frozen_copy[0].to(self.device)
        inputs = (("left", batch.queries), ("right", batch.documents))
        with torch.no_grad():
            queries, documents = (
                torch.cat([towers[name](features) for features in mini_batches])
                for name, mini_batches in inputs
            )
        return queries, documents

    def loss(self, outputs: BatchEmbeddings, batch: ContrastBatch) -> Float[Tensor, ""]:
        """Compute the nested InfoNCE, and the guardrail where it has a weight."""
        queries, documents = outputs.queries.float(), outputs.documents.float()
        config, n_pairs = self.config, len(queries)
        loss = nested_info_nce(
            queries,
            documents[:n_pairs],
            config.dims,
            self.log_temperature.exp() if config.learn_temperature else config.temperature,
            negatives=documents[n_pairs:] if len(documents) > n_pairs else None,
            weights=config.weights,
            excluded=batch.excluded,
            bidirectional=config.bidirectional,
        )
        if outputs.frozen is None:
            return loss
        frozen = torch.cat([embeddings.float() for embeddings in outputs.frozen])
        return loss + config.guardrail * guardrail(torch.cat([queries, documents]), frozen)

    def evaluate(self) -> dict[str, float]:
        """Measure how well held-out queries find their positives among all held-out documents."""
        pairs = self.held_out
        queries, documents = self.left.embed(pairs.queries), self.right.embed(pairs.documents)
        scores = {}
        for dims in self.config.eval_dims:
            ranks = positive_ranks(*truncate_sides(queries, documents, *dims), pairs.positives)
            name = str(dims[0]) if dims[0] == dims[1] else f"{dims[0]} x {dims[1]}"
            scores[name] = self.config.measure(ranks)
        return scores

    def save(self, folder: Path) -> None:
        """Save the tower, or the query tower in `left` and the document tower in `right`."""
        if self.left is self.right:
            self.left.save(folder)
            return
        towers: Mapping[str, Tower] = {"left": self.left, "right": self.right}
        for name, tower in towers.items():
            (folder / name).mkdir(exist_ok=True)
            tower.save(folder / name)


@dataclass(frozen=True, slots=True, eq=False)
class KnownPositives:
    """The known positives of all queries; equal queries share them."""

    stride: int
    keys: Int64[np.ndarray, " positives"]

    @classmethod
    def from_pairs(cls, pairs: Pairs) -> "KnownPositives":
        """Collect the positives of the queries of training pairs."""
        stride = len(pairs.documents) + 1
        return cls(stride, np.unique(pairs.query_ids * stride + pairs.positives))

    def matches(
        self, query_ids: Int64[np.ndarray, " q"], candidates: Int64[np.ndarray, " n"]
    ) -> Bool[np.ndarray, "q n"]:
        """Mark the candidates that are positives of a query; a candidate −1 is none."""
        # The last number of a stride is no document, so −1 is never a key.
        is_positive: np.ndarray = np.isin(query_ids[:, None] * self.stride + candidates, self.keys)
        return is_positive


def _freeze(query_tower: Tower, document_tower: Tower) -> nn.ModuleDict:
    towers = nn.ModuleDict({"left": query_tower, "right": document_tower})
    return copy.deepcopy(towers).requires_grad_(False).eval()
