"""Cascades on frozen MiniLM vectors of real intents: accuracy, dimensions read, promises, rarity.

    python -m benchmarks.classify [--data ../shared/data/classification] [--seeds 5]

For each set, order of dimensions (the model's own, or the principal components of the training
rows) and seed: a classifier per size is fitted on seven tenths of each class of the training
split, thresholds are chosen on the rest in every way there is, and the test split is asked. Also
the nearest class mean of few examples. Writes `results/classify.json`; vectors are encoded once
and kept in `benchmarks/data/`.
"""

import argparse
import csv
import gzip
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import nestvec as nv
from benchmarks.search.run import machine
from nestvec.classify import Cascade
from nestvec.classify.linear import prefix, softmax_regression
from nestvec.classify.report import CascadeReport, report
from nestvec.classify.shots import few_shots
from nestvec.encode import encode_to_file, open_encoder
from nestvec.progress import bar

HERE = Path(__file__).parent
RESULT = HERE / "results" / "classify.json"
SETS = {
    "banking77": "banking77/texts.tsv.gz",
    "clinc150": "clinc150/texts.tsv.gz",
    "clinc150, imbalanced": "clinc150/texts_imbalanced.tsv.gz",
}
DIMS = (12, 24, 48, 96, 192, 384)
WAYS: dict[str, dict[str, Any]] = {
    "backward": {"chain": "backward"},
    "pairwise (MRL-AC)": {"chain": "pairwise"},
    "within .01 at .95": {"alpha": 0.01},
    "within .02 at .95": {"alpha": 0.02},
}
Rows = tuple[np.ndarray, np.ndarray]
"""Vectors and labels."""


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
    options = parser.parse_args()
    told: dict[str, Any] = {"machine": machine(()), "dims": DIMS, "seeds": options.seeds}
    told["sets"] = {}
    for name, path in SETS.items():
        split = load(options.data / path)
        told["sets"][name] = {
            "train": len(split.train[1]), "test": len(split.test[1]),
            "classes": len(set(split.train[1])),
            "orders": {
                order: summary(list(runs(form, options.seeds)))
                for order, form in {"own": split, "pca": rotated(split)}.items()
            },
            "few_shots": [
                {"shots": one.shots, "dims": one.dims, **one.accuracy._asdict()}
                for one in few_shots(split.train, split.test, DIMS, (1, 5, 10))
            ],
        }  # fmt: skip
        RESULT.write_text(json.dumps(told, indent=1) + "\n")
        print(name, json.dumps(told["sets"][name], indent=1), flush=True)


def load(path: Path) -> Split:
    """The training and test rows; what belongs to no class is left out."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    kept = HERE / "data" / f"classify-{path.parent.name}-{path.name.partition('.')[0]}.npy"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        encode_to_file(open_encoder("minilm"), [row["text"] for row in rows], kept, progress=bar)
    vectors = np.load(kept)
    split, labels = (np.array([row[name] for row in rows]) for name in ("split", "label"))
    train, test = split == "train", split == "test"
    return Split((vectors[train], labels[train]), (vectors[test], labels[test]))


def rotated(split: Split) -> Split:
    """The same with the strongest directions of the training rows first."""
    rotation = nv.Rotation.fit(split.train[0])
    return Split(*((rotation.transform(of[0]), of[1]) for of in (split.train, split.test)))


def runs(split: Split, seeds: int) -> Iterator[dict[str, CascadeReport]]:
    """One report per way of choosing thresholds, all over the same classifiers."""
    vectors, labels = split.train
    names, numbers = np.unique(labels, return_inverse=True)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        holding = np.zeros(len(labels), dtype=bool)
        for number in range(len(names)):
            rows = rng.permutation(np.flatnonzero(numbers == number))
            holding[rows[: round(0.3 * len(rows))]] = True
        learning, answers = vectors[~holding], numbers[~holding]
        counts = np.bincount(answers, minlength=len(names)).tolist()
        sizes = [
            softmax_regression(prefix(learning, dims, True), answers, len(names)) for dims in DIMS
        ]
        yield {
            way: report(
                Cascade.of(
                    sizes, names.tolist(), vectors[holding], labels[holding],
                    counts=counts, seed=seed, **options,
                ),
                *split.test,
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
        name: {"mean": mean(of), "sd": round(float(np.std(of, ddof=1)), 4), "each": mean([of])}
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
