"""Two towers on real pairs: one caption of an image finds another, at sizes of either side.

    python -m benchmarks.train_clip [--data ../shared/data/pairs] [--only "small BERTs"] [--seeds 3]

Pairs are captions of one image of flickr8k: each of the five of 6,000 training images with the
next. The 1,000 images of its other split test: the first caption of each is to find the second
among 1,000. No image is on both sides. "nested" trains all sizes, "full width alone" the largest,
with the same batches; "untuned" is the encoder before. Recall@1 of every left size with every right
size, from one encoding; hits are averaged over seeds, and queries bootstrapped (95 %). Writes
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
from nestvec.train.bert import Bert
from nestvec.train.pairs import Pairs
from nestvec.train.ranks import asymmetric, own_ranks
from nestvec.train.towers import Pretrained

HERE = Path(__file__).parent
RESULT = HERE / "results" / "train_clip.json"
SMALL = Bert(hidden=128, layers=1, vocabulary=4000, max_tokens=24)
MINILM = Pretrained(max_tokens=24)
CASES = {
    "small BERTs": ClipConfig(
        (8, 16, 32, 64, 128), SMALL, SMALL,
        loop=Loop(
            steps=250, batch_size=128, learning_rate=1e-3, precision="bfloat16", evaluate_every=250
        ),
    ),
    "MiniLM": ClipConfig(
        (12, 24, 48, 96, 192, 384), MINILM, MINILM, temperature=0.05,
        loop=Loop(
            steps=100, batch_size=64, learning_rate=3e-5, precision="bfloat16", evaluate_every=100
        ),
    ),
}  # fmt: skip
Rows = tuple[np.ndarray, np.ndarray]
"""Of the left and the right captions."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared/data/pairs")
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    train, test = read(options.data / "flickr8k-captions.tsv.gz")
    for name in options.only:
        config, start = CASES[name], time.process_time()
        hits: dict[str, list[Any]] = {}
        for seed in range(options.seeds):
            for form, rows in encoded(config, (train, test), seed):
                hits.setdefault(form, []).append(hits_of(rows, config.dims))
                print(name, f"seed {seed}, {form}: {np.diag(hits[form][-1].mean(2))}", flush=True)
        tables = {form: table(np.array(of)) for form, of in hits.items()}
        keep(name, tables, options.seeds, time.process_time() - start, (train, test))
    draw(json.loads(RESULT.read_text())["cases"], RESULT.with_suffix(".png"))


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


def encoded(config: ClipConfig, data: tuple[Pairs, Pairs], seed: int) -> Iterator[tuple[str, Rows]]:
    """The held-out captions by every form of the towers."""
    config = replace(config, loop=replace(config.loop, seed=seed))
    if isinstance(config.left, Pretrained) and seed == 0:
        yield "untuned", rows_by(config.left.name, config.left.name, data[1])
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


def hits_of(rows: Rows, dims: tuple[int, ...]) -> np.ndarray:
    """Whether each caption finds its own first [left sizes, right sizes, queries]."""
    own = np.arange(len(rows[0]))
    found = [own_ranks(*asymmetric(*rows, a, b), own) == 0 for a, b in product(dims, dims)]
    return np.array(found).reshape(len(dims), len(dims), -1)


def table(hits: np.ndarray) -> list[list[dict[str, float]]]:
    """Recall@1 by left and right size with intervals, of hits [seeds, left, right, queries]."""
    rng = np.random.default_rng(0)
    means = hits.mean(axis=0)
    return [[bootstrap_mean(cell, rng)._asdict() for cell in row] for row in means]


def keep(
    name: str, tables: dict[str, Any], seeds: int, seconds: float, data: tuple[Pairs, Pairs]
) -> None:
    """Put a case into the result file."""
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {"cases": {}}
    result["cases"][name] = {
        "config": asdict(CASES[name]), "seeds": seeds, "train_pairs": len(data[0]),
        "test_pairs": len(data[1]), "cpu_s": round(seconds), "machine": machine(()),
        "threads": torch.get_num_threads(), "recall@1": tables,
    }  # fmt: skip
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


def draw(cases: dict[str, Any], path: Path) -> None:
    """A table of recall@1 in colours for each case and form."""
    from matplotlib.figure import Figure

    panels = [(name, form) for name, case in cases.items() for form in case["recall@1"]]
    figure = Figure(figsize=(4.2 * len(panels), 4), layout="constrained")
    for axes, (name, form) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        dims = cases[name]["config"]["dims"]
        values = np.array([[c["value"] for c in row] for row in cases[name]["recall@1"][form]])
        axes.imshow(values, vmin=0, vmax=max(0.01, values.max()), cmap="viridis")
        for (a, b), value in np.ndenumerate(values):
            light = value < values.max() / 2
            axes.text(b, a, f"{value:.3f}"[1:], ha="center", va="center", fontsize=8,
                      color="white" if light else "black")  # fmt: skip
        axes.set_xticks(range(len(dims)), dims)
        axes.set_yticks(range(len(dims)), dims)
        axes.set_xlabel("size of the captions found")
        axes.set_ylabel("size of the captions that ask")
        axes.set_title(f"{name}, {form}", fontsize=10)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
