"""Cascades on frozen MiniLM vectors of real intents: accuracy, dims read, guarantees, rare classes.

    python -m benchmarks.classify [--data ../shared/data/classification] [--seeds 5]
    python -m benchmarks.classify --only goemotions --seeds 3

For each set, order of dimensions and seed: a classifier per prefix is fitted on seven tenths of
each class of the training split, every method chooses thresholds on the rest, and the test split is
predicted. Orders: the model's own; the principal components of the training rows; and, for
`NESTED` sets, those of a square linear map of the frozen vectors that is trained together with the
head of its prefixes, by the nested cross-entropy ("MRL", "MRL-E"). Also the nearest class mean of
few examples. Writes `results/classify.json`; vectors are encoded once and stored in
`benchmarks/data/`.
"""

import argparse
import csv
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nestvec as nv
from benchmarks.search.run import machine
from nestvec.classify import Cascade
from nestvec.classify.few_shot import few_shot_accuracy
from nestvec.classify.linear import LinearClassifier, prefix, softmax_regression
from nestvec.classify.report import CascadeReport, report
from nestvec.encode import encode_to_file, open_encoder
from nestvec.progress import bar
from nestvec.train.models.nested_head import NestedHead

HERE = Path(__file__).parent
RESULT = HERE / "results" / "classify.json"
SETS = {
    "banking77": "banking77/texts.tsv.gz",
    "clinc150": "clinc150/texts.tsv.gz",
    "clinc150, imbalanced": "clinc150/texts_imbalanced.tsv.gz",
    "goemotions": "goemotions/texts.tsv.gz",
}
NESTED = ("clinc150, imbalanced", "goemotions")
DIMS = (12, 24, 48, 96, 192, 384)
METHODS: dict[str, dict[str, Any]] = {
    "backward": {"chain": "backward"},
    "pairwise (MRL-AC)": {"chain": "pairwise"},
    "within .01 at .95": {"alpha": 0.01},
    "within .02 at .95": {"alpha": 0.02},
}
EPOCHS, BATCH, RATE, DECAY = 15, 256, 3e-3, 0.01
Rows = tuple[np.ndarray, np.ndarray]
"""Vectors and labels."""
Fitted = tuple[np.ndarray, list[LinearClassifier]]
"""A matrix for the vectors, and a classifier of each prefix of the products."""
Fit = Callable[[np.ndarray, np.ndarray, int, int], Fitted]
"""A function of vectors, their class ids, the number of classes and a seed."""


@dataclass(frozen=True)
class Split:
    """A set's vectors in one order of dimensions."""

    train: Rows
    test: Rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = HERE.parents[1] / "shared/data/classification"
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=SETS, default=list(SETS))
    options = parser.parse_args()
    for name in options.only:
        split = load(options.data / SETS[name])
        result = {
            "machine": machine(()), "seeds": options.seeds,
            "train": len(split.train[1]), "test": len(split.test[1]),
            "classes": len(set(split.train[1])),
            "orders": {
                order: summary(list(runs(form, fit, options.seeds)))
                for order, form, fit in orders(name, split)
            },
            "few_shots": [
                {"shots": row.shots, "dims": row.dims, **row.accuracy._asdict()}
                for row in few_shot_accuracy(split.train, split.test, DIMS, (1, 5, 10))
            ],
        }  # fmt: skip
        earlier = json.loads(RESULT.read_text())["sets"] if RESULT.exists() else {}
        sets = {**earlier, name: result}
        RESULT.write_text(json.dumps({"dims": DIMS, "sets": sets}, indent=1) + "\n")
        print(name, json.dumps(result, indent=1), flush=True)


def load(path: Path) -> Split:
    """Load training and test rows; rows of no class or of several are left out."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = [row for row in table if "," not in row["label"]]
    vector_file = HERE / "data" / f"classify-{path.parent.name}-{path.name.partition('.')[0]}.npy"
    if not vector_file.exists():
        vector_file.parent.mkdir(exist_ok=True)
        encode_to_file(
            open_encoder("minilm"), [row["text"] for row in rows], vector_file, progress=bar
        )
    vectors = np.load(vector_file)
    split, labels = (np.array([row[name] for row in rows]) for name in ("split", "label"))
    train, test = split == "train", split == "test"
    return Split((vectors[train], labels[train]), (vectors[test], labels[test]))


def orders(name: str, split: Split) -> Iterator[tuple[str, Split, Fit]]:
    """Iterate over orders of dimensions, with the fit of classifiers to their prefixes."""
    yield "own", split, separate
    yield "pca", rotated(split), separate
    if name in NESTED:
        yield "MRL", split, partial(nested, tied=False)
        yield "MRL-E", split, partial(nested, tied=True)


def rotated(split: Split) -> Split:
    """Rotate a split so that the strongest directions of the training rows come first."""
    rotation = nv.Rotation.fit(split.train[0])
    return Split(
        *((rotation.transform(vectors), labels) for vectors, labels in (split.train, split.test))
    )


def separate(rows: np.ndarray, class_ids: np.ndarray, classes: int, seed: int) -> Fitted:
    """Fit a softmax regression per prefix, which is MRL where only the heads are trained."""
    classifiers = [
        softmax_regression(prefix(rows, dims, True), class_ids, classes) for dims in DIMS
    ]
    return np.eye(rows.shape[1], dtype=np.float32), classifiers


def nested(
    rows: np.ndarray, class_ids: np.ndarray, classes: int, seed: int, *, tied: bool
) -> Fitted:
    """Train a linear map and a nested head on it, by AdamW with a learning rate that falls to 0."""
    torch.manual_seed(seed)
    inputs, labels = torch.from_numpy(rows), torch.from_numpy(class_ids)
    map_ = torch.nn.Linear(rows.shape[1], max(DIMS), bias=False)
    head = NestedHead(DIMS, classes, tied=tied)
    parameters = [*map_.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
    batches = [part for _ in range(EPOCHS) for part in torch.randperm(len(rows)).split(BATCH)]
    rate = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, len(batches))
    for part in batches:
        optimizer.zero_grad()
        head.loss(map_(inputs[part]), labels[part]).backward()
        optimizer.step()
        rate.step()
    weights = [[part.detach().numpy() for part in head.classifier(dims)] for dims in DIMS]
    classifiers = [
        LinearClassifier(np.ascontiguousarray(w), bias, unit=False) for w, bias in weights
    ]
    return map_.weight.detach().numpy().T, classifiers


def runs(split: Split, fit: Fit, seeds: int) -> Iterator[dict[str, CascadeReport]]:
    """Report on every method of choosing thresholds, all with the same classifiers."""
    vectors, labels = split.train
    names, numbers = np.unique(labels, return_inverse=True)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        held_out = np.zeros(len(labels), dtype=bool)
        for number in range(len(names)):
            rows = rng.permutation(np.flatnonzero(numbers == number))
            held_out[rows[: round(0.3 * len(rows))]] = True
        class_ids = numbers[~held_out]
        matrix, classifiers = fit(vectors[~held_out], class_ids, len(names), seed)
        counts = np.bincount(class_ids, minlength=len(names)).tolist()
        yield {
            method: report(
                Cascade.from_classifiers(
                    classifiers, names.tolist(), vectors[held_out] @ matrix, labels[held_out],
                    class_counts=counts, seed=seed, **options,
                ),
                split.test[0] @ matrix, split.test[1],
            )
            for method, options in METHODS.items()
        }  # fmt: skip
        print(".", end="", flush=True)


def summary(results: list[dict[str, CascadeReport]]) -> dict[str, Any]:
    """Average over seeds, with standard deviations of the values that are compared."""
    reports = [result["backward"] for result in results]
    return {
        "accuracy_of_size": mean(
            [[prefix.accuracy.value for prefix in r.prefixes] for r in reports]
        ),
        "calibration_error_of_size": mean(
            [[prefix.calibration_error for prefix in r.prefixes] for r in reports]
        ),
        "slices": slices(reports),
        "ways": {method: statistics([result[method] for result in results]) for method in METHODS},
    }


def statistics(reports: list[CascadeReport]) -> dict[str, Any]:
    """Summarise the reports of one method, with the keys of earlier results."""
    values = {
        "expected_dims": [r.expected_dims for r in reports],
        "expected_dims_summed": [r.expected_dims_computed for r in reports],
        "accuracy": [r.accuracy.value for r in reports],
        "lost": [r.lost.value for r in reports],
        "below_full": [r.full_width.value - r.accuracy.value for r in reports],
    }
    return {
        name: {
            "mean": mean(column),
            "sd": round(float(np.std(column, ddof=1)), 4) if len(column) > 1 else None,
            "each": mean([column]),
        }
        for name, column in values.items()
    }


def slices(reports: list[CascadeReport]) -> list[dict[str, Any]]:
    """Average the accuracies of slices over seeds, with the keys of earlier results."""
    return [
        {
            "fewest": by_seed[0].min_class_rows, "most": by_seed[0].max_class_rows,
            "classes": by_seed[0].classes, "rows": by_seed[0].rows,
            "by_size": mean([slice_.by_dims for slice_ in by_seed]),
            "cascade": mean([slice_.cascade for slice_ in by_seed]),
        }
        for by_seed in zip(*(r.slices for r in reports), strict=True)
    ]  # fmt: skip


def mean(values: Any) -> Any:
    return np.round(np.mean(values, axis=0), 4).tolist()


if __name__ == "__main__":
    main()
