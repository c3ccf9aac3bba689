"""Cascades on frozen MiniLM vectors of real intents: accuracy, dimensions read, promises, rarity.

    python -m benchmarks.classify [--data ../shared/data/classification] [--seeds 5]
    python -m benchmarks.classify --only goemotions --seeds 3

For each set, order of dimensions and seed: a classifier per size is fitted on seven tenths of each
class of the training split, thresholds are chosen on the rest in every way there is, and the test
split is asked. Orders: the model's own; the principal components of the training rows; and, for
`NESTED` sets, those of a square linear map of the frozen vectors that is trained together with the
head of its prefixes, by the nested cross-entropy ("MRL", "MRL-E"). Also the nearest class mean of
few examples. Writes `results/classify.json`; vectors are encoded once and kept in
`benchmarks/data/`.
"""

import argparse
import csv
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nestvec as nv
from benchmarks.search.run import machine
from nestvec.classify import Cascade
from nestvec.classify.few_shot import few_shots
from nestvec.classify.linear import Linear, prefix, softmax_regression
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
WAYS: dict[str, dict[str, Any]] = {
    "backward": {"chain": "backward"},
    "pairwise (MRL-AC)": {"chain": "pairwise"},
    "within .01 at .95": {"alpha": 0.01},
    "within .02 at .95": {"alpha": 0.02},
}
EPOCHS, BATCH, RATE, DECAY = 15, 256, 3e-3, 0.01
Rows = tuple[np.ndarray, np.ndarray]
"""Vectors and labels."""
Fitted = tuple[np.ndarray, list[Linear]]
"""What vectors are multiplied with, and a classifier of each size of the product."""
Fit = Callable[[np.ndarray, np.ndarray, int, int], Fitted]
"""From vectors, the numbers of their classes, how many classes there are, and a seed."""


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
        found = {
            "machine": machine(()), "seeds": options.seeds,
            "train": len(split.train[1]), "test": len(split.test[1]),
            "classes": len(set(split.train[1])),
            "orders": {
                order: summary(list(runs(form, fit, options.seeds)))
                for order, form, fit in orders(name, split)
            },
            "few_shots": [
                {"shots": one.shots, "dims": one.dims, **one.accuracy._asdict()}
                for one in few_shots(split.train, split.test, DIMS, (1, 5, 10))
            ],
        }  # fmt: skip
        before = json.loads(RESULT.read_text())["sets"] if RESULT.exists() else {}
        sets = {**before, name: found}
        RESULT.write_text(json.dumps({"dims": DIMS, "sets": sets}, indent=1) + "\n")
        print(name, json.dumps(found, indent=1), flush=True)


def load(path: Path) -> Split:
    """The training and test rows; what belongs to no class or to several is left out."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = [row for row in table if "," not in row["label"]]
    kept = HERE / "data" / f"classify-{path.parent.name}-{path.name.partition('.')[0]}.npy"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        encode_to_file(open_encoder("minilm"), [row["text"] for row in rows], kept, progress=bar)
    vectors = np.load(kept)
    split, labels = (np.array([row[name] for row in rows]) for name in ("split", "label"))
    train, test = split == "train", split == "test"
    return Split((vectors[train], labels[train]), (vectors[test], labels[test]))


def orders(name: str, split: Split) -> Iterator[tuple[str, Split, Fit]]:
    """In which order dimensions are read, and what is fitted to their prefixes."""
    yield "own", split, separate
    yield "pca", rotated(split), separate
    if name in NESTED:
        yield "MRL", split, partial(nested, tied=False)
        yield "MRL-E", split, partial(nested, tied=True)


def rotated(split: Split) -> Split:
    """The same with the strongest directions of the training rows first."""
    rotation = nv.Rotation.fit(split.train[0])
    return Split(*((rotation.transform(of[0]), of[1]) for of in (split.train, split.test)))


def separate(rows: np.ndarray, answers: np.ndarray, classes: int, seed: int) -> Fitted:
    """A softmax regression per size. It is also what MRL is where nothing but the heads learns."""
    sizes = [softmax_regression(prefix(rows, dims, True), answers, classes) for dims in DIMS]
    return np.eye(rows.shape[1], dtype=np.float32), sizes


def nested(rows: np.ndarray, answers: np.ndarray, classes: int, seed: int, *, tied: bool) -> Fitted:
    """A linear map and the nested head behind it, by AdamW with a rate that falls to 0."""
    torch.manual_seed(seed)
    inputs, labels = torch.from_numpy(rows), torch.from_numpy(answers)
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
    sizes = [Linear(np.ascontiguousarray(w), bias, unit=False) for w, bias in weights]
    return map_.weight.detach().numpy().T, sizes


def runs(split: Split, fit: Fit, seeds: int) -> Iterator[dict[str, CascadeReport]]:
    """One report per way of choosing thresholds, all over the same classifiers."""
    vectors, labels = split.train
    names, numbers = np.unique(labels, return_inverse=True)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        holding = np.zeros(len(labels), dtype=bool)
        for number in range(len(names)):
            rows = rng.permutation(np.flatnonzero(numbers == number))
            holding[rows[: round(0.3 * len(rows))]] = True
        answers = numbers[~holding]
        matrix, sizes = fit(vectors[~holding], answers, len(names), seed)
        counts = np.bincount(answers, minlength=len(names)).tolist()
        yield {
            way: report(
                Cascade.of(
                    sizes, names.tolist(), vectors[holding] @ matrix, labels[holding],
                    counts=counts, seed=seed, **options,
                ),
                split.test[0] @ matrix, split.test[1],
            )
            for way, options in WAYS.items()
        }  # fmt: skip
        print(".", end="", flush=True)


def summary(found: list[dict[str, CascadeReport]]) -> dict[str, Any]:
    """Means over seeds, with standard deviations of what is compared."""
    first = [of["backward"] for of in found]
    return {
        "accuracy_of_size": mean([[size.accuracy.value for size in of.sizes] for of in first]),
        "calibration_error_of_size": mean(
            [[size.calibration_error for size in of.sizes] for of in first]
        ),
        "slices": slices(first),
        "ways": {way: of_way([of[way] for of in found]) for way in WAYS},
    }


def of_way(reports: list[CascadeReport]) -> dict[str, Any]:
    names = ("expected_dims", "expected_dims_summed")
    values = {name: [getattr(of, name) for of in reports] for name in names}
    values |= {name: [getattr(of, name).value for of in reports] for name in ("accuracy", "lost")}
    values["below_full"] = [of.full.value - of.accuracy.value for of in reports]
    return {
        name: {
            "mean": mean(of),
            "sd": round(float(np.std(of, ddof=1)), 4) if len(of) > 1 else None,
            "each": mean([of]),
        }
        for name, of in values.items()
    }


def slices(reports: list[CascadeReport]) -> list[dict[str, Any]]:
    """By how common classes are: the first seed's slices, accuracies averaged over seeds."""
    return [
        asdict(of[0]) | {
            "by_size": mean([one.by_size for one in of]), "cascade": mean([o.cascade for o in of])
        }
        for of in zip(*(of.slices for of in reports), strict=True)
    ]  # fmt: skip


def mean(values: Any) -> Any:
    return np.round(np.mean(values, axis=0), 4).tolist()


if __name__ == "__main__":
    main()
