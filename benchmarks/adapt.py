"""Adapters on judged collections, on queries that none of them saw.

    python -m benchmarks.adapt [--set NAME ...] [--seed N ...] [--without METHOD ...]

For each collection, seed, method and size: nDCG@10, overlap@10 with the full-width ranking, what
that gains over PCA query by query, and with what share of PCA's distance to full width that is
closed; the same with documents of 1 bit per dimension, the best 50 rescored in full precision.
Writes `results/adapt.json` after each fit, so that a run that is stopped loses nothing: what is
there already is not made again. `judged.py` says how queries are split.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.judged import NAMES, Collection, load
from benchmarks.search.run import machine
from nestvec.adapt import Adapter, Linear, MatryoshkaAdaptor, Rotation
from nestvec.adapt.compare import baselines, compare
from nestvec.adapt.config import Recipe
from nestvec.adapt.evaluation import HeldOut, nearest, quality
from nestvec.adapt.training_data import Material
from nestvec.vectors import normalize

RESULT = Path(__file__).parent / "results" / "adapt.json"
SIZES = (32, 64, 128)
RESCORED = 50
Fit = Callable[[Collection, int], Adapter]


FREE = Recipe(
    start="neighbours", teacher="start", orthogonal=False, temperature=0.03, learning_rate=5e-3
)


def _free(of: Collection, seed: int) -> Adapter:
    return MatryoshkaAdaptor.fit(of.documents, SIZES, recipe=FREE, seed=seed, force=True)


def _supervised(of: Collection, seed: int) -> Adapter:
    return MatryoshkaAdaptor.fit(
        of.documents, SIZES, of.train_pairs, queries=of.train, seed=seed, force=True
    )


def _papers(of: Collection, seed: int, pairs: bool) -> Adapter:
    given = {"pairs": of.train_pairs, "queries": of.train} if pairs else {}
    recipe = Recipe.paper(of.documents.shape[1])
    return MatryoshkaAdaptor.fit(of.documents, SIZES, recipe=recipe, seed=seed, force=True, **given)


METHODS: dict[str, Fit] = {
    "prefix": lambda of, seed: baselines(of.documents, seed)["prefix"],
    "random": lambda of, seed: baselines(of.documents, seed)["random"],
    "pca": lambda of, seed: Rotation.fit(of.documents),
    "centred pca": lambda of, seed: Linear.fit_centred(of.documents),
    "neighbours": lambda of, seed: Linear.fit_neighbours(of.documents, seed=seed),
    "rotation": lambda of, seed: Rotation.learn(of.documents, SIZES, seed=seed),
    "adaptor": lambda of, seed: MatryoshkaAdaptor.fit(of.documents, SIZES, seed=seed),
    "adaptor, free": _free,
    "adaptor, pairs": _supervised,
    "paper": lambda of, seed: _papers(of, seed, pairs=False),
    "paper, pairs": lambda of, seed: _papers(of, seed, pairs=True),
}
LEARN_FROM_PAIRS = ("adaptor, pairs", "paper, pairs")
_FEWEST_QUERIES = 34


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--seed", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--method", nargs="+", choices=METHODS, default=tuple(METHODS))
    parser.add_argument("--without", nargs="+", choices=METHODS, default=())
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    told = json.loads(options.out.read_text()) if options.out.exists() else {"runs": []}
    told |= {"machine": machine(()), "sizes": SIZES, "rescored": RESCORED}
    done = {(run["set"], run["seed"], run["method"]) for run in told["runs"]}
    for name in options.set:
        collection = load(name)
        for seed in options.seed:
            for method in [m for m in options.method if m not in options.without]:
                few = len(collection.train) < _FEWEST_QUERIES
                if (name, seed, method) in done or (few and method in LEARN_FROM_PAIRS):
                    continue
                told["runs"].append(one_run(collection, seed, method))
                options.out.write_text(json.dumps(told, indent=1) + "\n")


def one_run(of: Collection, seed: int, method: str) -> dict[str, Any]:
    """Fit, and measure on the test queries, beside PCA."""
    begun = time.process_time()
    adapter = METHODS[method](of, seed)
    seconds = time.process_time() - begun
    material = Material.read(of.documents, of.test_pairs, of.test)
    pca = Rotation.fit(of.documents)
    done = compare({"pca": pca, method: adapter}, material, SIZES, seed)
    cells = {cell.dims: cell for cell in done.cells if cell.method == method}
    base = {cell.dims: cell.metrics["ndcg@10"].value for cell in done.cells if cell.method == "pca"}
    full = base[max(base)]
    found = {
        str(size): {
            "ndcg@10": cell.metrics["ndcg@10"], "overlap@10": cell.metrics["overlap@10"],
            "gain": cell.gains["ndcg@10"], "closed": _closed(cell, base[size], full),
            **({} if size > SIZES[-1] else {"at 1 bit": _one_bit(adapter, material, size)}),
        }
        for size, cell in sorted(cells.items())
    }  # fmt: skip
    report = getattr(adapter, "report", None)
    run = {
        "set": of.name, "seed": seed, "method": method, "strict": of.strict,
        "documents": len(of.documents), "test_queries": len(material.queries),
        "train_queries": len(of.train), "seconds": round(seconds, 2),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "lossless": adapter.lossless, "said": report and report.said, "sizes": found,
    }  # fmt: skip
    line = {size: f"{one['ndcg@10'].value:.4f}" for size, one in found.items()}
    print(of.name, seed, method, line, f"{seconds:.0f} s", flush=True)
    return run


def _closed(cell: Any, base: float, full: float) -> float | None:
    """Of the distance that PCA leaves to full width; None where it leaves none."""
    return None if full <= base else (cell.metrics["ndcg@10"].value - base) / (full - base)


def _one_bit(adapter: Adapter, material: Material, size: int) -> dict[str, float]:
    """nDCG@10 of sign codes whose best are rescored, and what share of the floats' that is."""
    exam = HeldOut.of(material)
    queries = normalize(adapter.transform_queries(material.queries, size))
    documents = normalize(adapter.transform(material.documents, size))
    signs = np.where(documents >= 0, np.float32(1), np.float32(-1))
    rows = nearest(queries, signs, material.own, RESCORED)
    scores = np.einsum("qd,qkd->qk", queries, documents[rows])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    coded = quality(np.take_along_axis(rows, order, axis=1), exam.truth).mean()
    return {"ndcg@10": float(coded), "kept": float(coded / exam.grade(queries, documents).mean())}


if __name__ == "__main__":
    main()
