"""Two towers on real pairs: one caption of an image finds another, at sizes of either side.

    python -m benchmarks.train_clip [--data ../shared/data/pairs] [--seeds 3]

Two small BERTs from scratch. Pairs are captions of one image of flickr8k: each of the five of 6,000
training images with the next. The 1,000 images of its other split test: the first caption of each
is to find the second among 1,000. No image is on both sides. "nested" trains all sizes, "full width
alone" the largest, with the same batches. Recall@1 of every left size with every right size, from
one encoding; hits are averaged over seeds, and queries bootstrapped (95 %). Writes
`results/train_clip.json` and `.png`.
"""

import argparse
import csv
import gzip
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.search.run import machine
from nestvec.encode import open_encoder
from nestvec.statistics import bootstrap_mean
from nestvec.train import ClipConfig, Loop, train_clip
from nestvec.train.data.pairs import Pairs
from nestvec.train.evaluation.positive_ranks import positive_ranks, truncate_sides
from nestvec.train.models.bert import Bert

HERE = Path(__file__).parent
RESULT = HERE / "results" / "train_clip.json"
TOWER = Bert(hidden=128, layers=1, vocabulary=4000, max_tokens=24)
CONFIG = ClipConfig(
    dims=(8, 16, 32, 64, 128),
    left=TOWER,
    right=TOWER,
    # One evaluation, at the end: nothing is chosen on the captions that test.
    loop=Loop(
        steps=250, batch_size=128, learning_rate=1e-3, precision="bfloat16", evaluate_every=250
    ),
)
Rows = tuple[np.ndarray, np.ndarray]
"""Of the left and the right captions."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared/data/pairs")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    train, test = read(options.data / "flickr8k-captions.tsv.gz")
    start = time.process_time()
    hits: dict[str, list[Any]] = {}
    for seed in range(options.seeds):
        for form, rows in encoded((train, test), seed):
            hits.setdefault(form, []).append(hits_of(rows))
            print(f"seed {seed}, {form}: {np.diag(hits[form][-1].mean(2))}", flush=True)
    result = {
        "config": asdict(CONFIG), "seeds": options.seeds, "train_pairs": len(train),
        "test_pairs": len(test), "cpu_s": round(time.process_time() - start),
        "machine": machine(()), "threads": torch.get_num_threads(),
        "recall@1": {form: table(np.array(of)) for form, of in hits.items()},
    }  # fmt: skip
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    draw(result["recall@1"], RESULT.with_suffix(".png"))


def read(path: Path) -> tuple[Pairs, Pairs]:
    """Pairs of captions of one image to train on, and one pair of each image held out."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    parts: dict[str, list[list[str]]] = {}
    for (split, _), of in groupby(rows, key=lambda row: (row["split"], row["image"])):
        parts.setdefault(split, []).append([row["caption"] for row in of])
    train = [(i, *pair) for i, of in enumerate(parts["train"]) for pair in round_about(of)]
    images, left, right = zip(*train, strict=True)
    pairs = Pairs.of_texts(left, right)
    # Captions of one image are no negatives of each other.
    pairs = replace(pairs, asked=np.array(images))
    return pairs, Pairs.of_texts(*zip(*(of[:2] for of in parts["dev"]), strict=True))


def round_about(captions: list[str]) -> list[tuple[str, str]]:
    """Each with the next, and the last with the first."""
    return list(zip(captions, [*captions[1:], captions[0]], strict=True))


def encoded(data: tuple[Pairs, Pairs], seed: int) -> Iterator[tuple[str, Rows]]:
    """The held-out captions by the towers of one seed."""
    config = replace(CONFIG, loop=replace(CONFIG.loop, seed=seed))
    forms = {"nested": config, "full width alone": replace(config, dims=config.dims[-1:])}
    with tempfile.TemporaryDirectory() as folder:
        for form, of in forms.items():
            model = train_clip(data, of, Path(folder) / form).model
            yield form, rows_by(str(model / "left"), str(model / "right"), data[1])


def rows_by(left: str, right: str, test: Pairs) -> Rows:
    texts = (list(test.left), [test.right[own] for own in test.own])
    sides = zip((left, right), texts, strict=True)
    asked, given = (open_encoder(name).encode(captions) for name, captions in sides)
    return asked, given


def hits_of(rows: Rows) -> np.ndarray:
    """Whether each caption finds its own first [left sizes, right sizes, queries]."""
    dims, own = CONFIG.dims, np.arange(len(rows[0]))
    found = [positive_ranks(*truncate_sides(*rows, a, b), own) == 0 for a, b in product(dims, dims)]
    return np.array(found).reshape(len(dims), len(dims), -1)


def table(hits: np.ndarray) -> list[list[dict[str, float]]]:
    """Recall@1 by left and right size with intervals, of hits [seeds, left, right, queries]."""
    rng = np.random.default_rng(0)
    means = hits.mean(axis=0)
    return [[bootstrap_mean(cell, rng)._asdict() for cell in row] for row in means]


def draw(tables: dict[str, Any], path: Path) -> None:
    """A table of recall@1 in colours for each form, of one scale."""
    from matplotlib.figure import Figure

    dims, figure = CONFIG.dims, Figure(figsize=(4.5 * len(tables), 4.2), layout="constrained")
    forms = {form: np.array([[c["value"] for c in row] for row in t]) for form, t in tables.items()}
    most = max(values.max() for values in forms.values())
    panels = figure.subplots(1, len(forms))
    for axes, (form, values) in zip(panels, forms.items(), strict=True):
        axes.imshow(values, vmin=0, vmax=most, cmap="viridis")
        for (a, b), value in np.ndenumerate(values):
            colour = "white" if value < most / 2 else "black"
            axes.text(b, a, f"{value:.3f}"[1:], ha="center", va="center", color=colour)
        axes.set_xticks(range(len(dims)), dims)
        axes.set_yticks(range(len(dims)), dims)
        axes.set_xlabel("size of the captions found")
        axes.set_ylabel("size of the captions that ask")
        axes.set_title(form)
    figure.suptitle("recall@1 among 1,000 captions")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
