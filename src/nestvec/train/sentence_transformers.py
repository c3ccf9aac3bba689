"""Parts for `SentenceTransformerTrainer`: the nested loss, and an evaluator of every prefix."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from sentence_transformers.sentence_transformer.data_collator import (
    SentenceTransformerDataCollator,
)
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from torch import Tensor, nn

from nestvec.data import RetrievalSet
from nestvec.errors import InputError
from nestvec.extras import require
from nestvec.losses.cached import cached_encode
from nestvec.losses.info_nce import nested_info_nce
from nestvec.losses.nesting_dims import Weights
from nestvec.shapes import Float
from nestvec.train.evaluation.prefixes import CONTROLS, evaluate_prefixes

Features = Mapping[str, Any]
"""The input of a model: tensors of one row per text, and settings."""


class NestedInfoNCELoss(nn.Module):
    """`nested_info_nce` of a batch's columns: anchor, positive, and any number of negatives.

    Equal in value to MatryoshkaLoss around MultipleNegativesRankingLoss. The model is run once per
    column, nothing is patched, and every prefix is in every step. With `mini_batch_size` it is run
    on so many texts at a time, and again in `backward`, which replaces the Cached losses. With
    `learn_temperature` the temperature is a parameter (as its logarithm, so it stays above 0). All
    else is as in `nested_info_nce`. Texts that occur twice in a batch are negatives of each other:
    use the batch sampler `NO_DUPLICATES`.
    """

    def __init__(  # noqa: PLR0913  the options of `nested_info_nce`
        self,
        model: nn.Module,
        dims: Sequence[int],
        temperature: float = 0.05,
        *,
        weights: Weights = None,
        margin: float | None = None,
        bidirectional: bool = False,
        gather: bool = False,
        mini_batch_size: int | None = None,
        learn_temperature: bool = False,
    ) -> None:
        super().__init__()
        if mini_batch_size is not None and mini_batch_size < 1:
            raise InputError(f"mini_batch_size={mini_batch_size}; use 1 or more, or None")
        if not 0 < temperature < math.inf:
            raise InputError(f"temperature={temperature}; use a finite number above 0")
        self.model = model  # under this name the trainer finds it, to wrap it for many processes
        self.dims, self.weights, self.margin = list(dims), weights, margin
        self.bidirectional, self.gather = bidirectional, gather
        self.mini_batch_size = mini_batch_size
        log_temperature = torch.tensor(float(temperature)).log()
        self.log_temperature = nn.Parameter(log_temperature, requires_grad=learn_temperature)

    def forward(self, sentence_features: Iterable[Features], labels: Any) -> Float[Tensor, ""]:
        """Compute the loss of a batch; `labels` are ignored, because row i belongs to row i."""
        columns = list(sentence_features)
        if len(columns) < 2:
            raise InputError(
                f"a batch of {len(columns)} column(s) holds no pairs; the dataset needs columns "
                "for anchor and positive, and may have negatives after them"
            )
        queries, documents, *negatives = map(self._embed, columns)
        return nested_info_nce(
            queries,
            documents,
            self.dims,
            self.log_temperature.exp(),
            negatives=torch.cat(negatives) if negatives else None,
            weights=self.weights,
            margin=self.margin,
            bidirectional=self.bidirectional,
            gather=self.gather,
        )

    def _embed(self, features: Features) -> Float[Tensor, "n dim"]:
        if self.mini_batch_size is None:
            return self._encode(features)
        return cached_encode(self._encode, _mini_batches(features, self.mini_batch_size))

    def _encode(self, features: Features) -> Float[Tensor, "n dim"]:
        # A copy: modules write into their input, and it may be read twice.
        rows: Tensor = self.model(dict(features))["sentence_embedding"]
        return rows

    def get_config_dict(self) -> dict[str, Any]:
        """List the settings that the trainer writes into the model card."""
        return {
            "dims": self.dims,
            "weights": self.weights,
            "temperature": round(float(self.log_temperature.detach().exp()), 6),
            "margin": self.margin,
            "bidirectional": self.bidirectional,
            "gather": self.gather,
            "mini_batch_size": self.mini_batch_size,
        }


def _mini_batches(features: Features, size: int) -> Iterator[Features]:
    """Yield the features of `size` texts at a time."""
    counts = {len(value) for value in features.values() if isinstance(value, Tensor) and value.ndim}
    if len(counts) != 1:
        raise InputError(
            "this model's input does not have one row per text (it is static or flattened), so it "
            "cannot be split into mini-batches; leave mini_batch_size out"
        )
    (count,) = counts
    for start in range(0, count, size):
        yield {
            name: value[start : start + size] if isinstance(value, Tensor) and value.ndim else value
            for name, value in features.items()
        }


LABEL_COLUMNS = ("label", "labels", "score", "scores")
"""Columns that Sentence Transformers passes to a loss as labels."""


def merge_negatives(dataset: Any) -> Any:
    """Merge all columns of a `datasets.Dataset` after the first two into one, `negatives`.

    Its cells are lists of texts, as many as there are: without None, which a cell may be or hold.
    The trainer needs this for a dataset with None in it, because it describes all columns in the
    model card before the first step, and fails at None. Columns of labels stay. Raises `InputError`
    for fewer than two columns, and for a cell of anything but None, a text or a list of texts.
    """
    datasets = require("datasets", "train")
    pair = [name for name in dataset.column_names if name not in LABEL_COLUMNS][:2]
    if len(pair) < 2:
        raise InputError(
            f"the dataset has columns {dataset.column_names}; it needs anchor and positive, and "
            "may have negatives after them"
        )
    kept = [*pair, *(name for name in dataset.column_names if name in LABEL_COLUMNS)]
    merged = [name for name in dataset.column_names if name not in kept]
    features = {name: dataset.features[name] for name in kept}
    features["negatives"] = datasets.Sequence(datasets.Value("string"))
    return dataset.map(
        lambda row: {"negatives": [text for name in merged for text in _present(row[name])]},
        remove_columns=merged,
        features=datasets.Features(features),
    )


class RaggedNegativesCollator(SentenceTransformerDataCollator):
    """A collator for rows with different numbers of negatives: None, a text or a list of texts.

    The columns after anchor and positive become one column of all negatives in the batch, without
    the missing ones; a batch without negatives has no such column. `NestedInfoNCELoss` compares
    every query of the batch with all of them. `merge_negatives` prepares a dataset for the trainer.
    """

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Preprocess a batch of rows into the columns anchor, positive and, if any, negatives."""
        other = {"dataset_name", *self.valid_label_columns}
        pair: list[str] = []
        negatives: list[str] = []
        for name in features[0] if features else ():
            if name not in other:
                (pair if len(pair) < 2 else negatives).append(name)
        rows = [{n: v for n, v in row.items() if n not in negatives} for row in features]
        batch: dict[str, Any] = super().__call__(rows)
        texts = [text for row in features for name in negatives for text in _present(row[name])]
        if texts:
            # All three columns, because prompts and tasks may depend on the place of a column.
            padded = [
                {**dict.fromkeys(pair, ""), negatives[0]: text, **_dataset(features[0])}
                for text in texts
            ]
            columns = super().__call__(padded)
            batch |= {name: value for name, value in columns.items() if name not in batch}
        return batch


def _present(negatives: Any) -> list[str]:
    """List the texts of one cell; None, in place of a list or in one, is no text."""
    cell = negatives if isinstance(negatives, Sequence) else [negatives]
    texts = [text for text in ([cell] if isinstance(cell, str) else cell) if text is not None]
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"negatives={negatives!r}; a cell is None, a text or a list of texts")
    return texts


def _dataset(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("dataset_name",) if name in row}


class NestedEvaluator(SentenceEvaluator):
    """nDCG@k of every prefix from one encoding of queries and documents, beside two controls.

    Metrics: `ndcg@10_64` for the prefix of 64 dimensions, `ndcg@10_64_random_dims` and
    `ndcg@10_64_pca` for as many random dimensions and principal components, as in
    `evaluate_prefixes`. The best checkpoint is chosen by `ndcg@10_mean`, the mean over prefixes.
    """

    def __init__(
        self,
        data: RetrievalSet,
        dims: Sequence[int],
        *,
        k: int = 10,
        batch_size: int = 32,
        seed: int = 0,
        name: str = "",
    ) -> None:
        super().__init__()
        self.data, self.dims, self.k = data, list(dims), k
        self.batch_size, self.seed, self.name = batch_size, seed, name
        self.primary_metric = f"ndcg@{k}_mean"

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1.0, steps: int = -1
    ) -> dict[str, float]:
        """Compute the metrics, and store them for the model card; no file is written."""
        settings = {"batch_size": self.batch_size, "show_progress_bar": False}
        scores = evaluate_prefixes(
            model.encode_query(list(self.data.queries.texts), **settings),
            model.encode_document(list(self.data.corpus.texts), **settings),
            self.data.qrels, self.dims, query_ids=self.data.queries.ids,
            document_ids=self.data.corpus.ids, k=self.k, seed=self.seed,
        )  # fmt: skip
        metrics = {}
        for prefix in scores:
            metrics[f"ndcg@{self.k}_{prefix.dims}"] = prefix.ndcg["prefix"].value
            for control in CONTROLS:
                metrics[f"ndcg@{self.k}_{prefix.dims}_{control}"] = prefix.ndcg[control].value
        prefixes = [prefix.ndcg["prefix"].value for prefix in scores]
        metrics[f"ndcg@{self.k}_mean"] = sum(prefixes) / len(prefixes)
        named: dict[str, float] = self.prefix_name_to_metrics(metrics, self.name)
        self.store_metrics_in_model_card_data(model, named, epoch, steps)
        return named
