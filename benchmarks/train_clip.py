"""Two towers on real pairs: one caption of an image finds another, at all pairs of dims.

    python -m benchmarks.train_clip [--data ../shared/data/pairs] [--seeds 3]

Two small BERTs from scratch. Pairs are captions of one image of flickr8k: each of the five of 6,000
training images with the next. The 1,000 images of its other split are the test: the first caption
of each searches the second among 1,000. No image is in both splits. "nested" trains all dims, "full
width alone" the largest, with the same batches. Recall@1 of all query dims with all document dims,
from one encoding; hits are averaged over seeds, and queries bootstrapped (95 %). Writes
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
    query_tower=TOWER,
    document_tower=TOWER,
    # One evaluation, at the end: nothing is chosen on the test captions.
    loop=Loop(
        steps=250, batch_size=128, learning_rate=1e-3, precision="bfloat16", evaluate_every=250
    ),
)
Embeddings = tuple[np.ndarray, np.ndarray]
"""Embeddings of queries and documents."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared/data/pairs")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    train, test = read(options.data / "flickr8k-captions.tsv.gz")
    start = time.process_time()
    hits: dict[str, list[Any]] = {}
    for seed in range(options.seeds):
        for name, embeddings in encode_with_models((train, test), seed):
            hits.setdefault(name, []).append(first_hits(embeddings))
            print(f"seed {seed}, {name}: {np.diag(hits[name][-1].mean(2))}", flush=True)
    result = {
        "config": asdict(CONFIG), "seeds": options.seeds, "train_pairs": len(train),
        "test_pairs": len(test), "cpu_s": round(time.process_time() - start),
        "machine": machine(()), "threads": torch.get_num_threads(),
        "recall@1": {name: table(np.array(seeds)) for name, seeds in hits.items()},
    }  # fmt: skip
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    draw(result["recall@1"], RESULT.with_suffix(".png"))


def read(path: Path) -> tuple[Pairs, Pairs]:
    """Read pairs of captions of one image to train on, and one pair of each held-out image."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    parts: dict[str, list[list[str]]] = {}
    for (split, _), group in groupby(rows, key=lambda row: (row["split"], row["image"])):
        parts.setdefault(split, []).append([row["caption"] for row in group])
    train = [(i, *pair) for i, texts in enumerate(parts["train"]) for pair in neighbours(texts)]
    images, queries, documents = zip(*train, strict=True)
    pairs = Pairs.from_texts(queries, documents)
    # Captions of one image are no negatives of each other.
    pairs = replace(pairs, query_ids=np.array(images))
    return pairs, Pairs.from_texts(*zip(*(texts[:2] for texts in parts["dev"]), strict=True))


def neighbours(captions: list[str]) -> list[tuple[str, str]]:
    """Pair each caption with the next, and the last with the first."""
    return list(zip(captions, [*captions[1:], captions[0]], strict=True))


def encode_with_models(data: tuple[Pairs, Pairs], seed: int) -> Iterator[tuple[str, Embeddings]]:
    """Train the models of one seed, and encode the held-out captions with each."""
    config = replace(CONFIG, loop=replace(CONFIG.loop, seed=seed))
    configs = {"nested": config, "full width alone": replace(config, dims=config.dims[-1:])}
    with tempfile.TemporaryDirectory() as folder:
        for name, settings in configs.items():
            model = train_clip(data, settings, Path(folder) / name).model
            yield name, encode(model, data[1])


def encode(model: Path, test: Pairs) -> Embeddings:
    documents = [test.documents[positive] for positive in test.positives]
    return (
        open_encoder(str(model / "left")).encode(list(test.queries)),
        open_encoder(str(model / "right")).encode(documents),
    )


def first_hits(embeddings: Embeddings) -> np.ndarray:
    """Mark the queries whose positive comes first [query dims, document dims, queries]."""
    dims, positives = CONFIG.dims, np.arange(len(embeddings[0]))
    hits = [
        positive_ranks(*truncate_sides(*embeddings, a, b), positives) == 0
        for a, b in product(dims, dims)
    ]
    return np.array(hits).reshape(len(dims), len(dims), -1)


def table(hits: np.ndarray) -> list[list[dict[str, float]]]:
    """Compute recall@1 by query dims and document dims with intervals, of hits of all seeds."""
    rng = np.random.default_rng(0)
    means = hits.mean(axis=0)
    return [[bootstrap_mean(cell, rng)._asdict() for cell in row] for row in means]


def draw(tables: dict[str, Any], path: Path) -> None:
    """Draw a table of recall@1 in colours for each model, on one scale."""
    from matplotlib.figure import Figure

    dims, figure = CONFIG.dims, Figure(figsize=(4.5 * len(tables), 4.2), layout="constrained")
    models = {
        name: np.array([[c["value"] for c in row] for row in t]) for name, t in tables.items()
    }
    highest = max(values.max() for values in models.values())
    panels = figure.subplots(1, len(models))
    for axes, (name, values) in zip(panels, models.items(), strict=True):
        axes.imshow(values, vmin=0, vmax=highest, cmap="viridis")
        for (a, b), value in np.ndenumerate(values):
            colour = "white" if value < highest / 2 else "black"
            axes.text(b, a, f"{value:.3f}"[1:], ha="center", va="center", color=colour)
        axes.set_xticks(range(len(dims)), dims)
        axes.set_yticks(range(len(dims)), dims)
        axes.set_xlabel("dims of documents")
        axes.set_ylabel("dims of queries")
        axes.set_title(name)
    figure.suptitle("recall@1 among 1,000 captions")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
