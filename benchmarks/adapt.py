"""Transforms on judged collections, on queries that none of them was fitted to.

    python -m benchmarks.adapt [--set NAME ...] [--seed N ...] [--without METHOD ...]

For each collection, seed, method and dims: nDCG@10, overlap@10 with the full-width ranking, what
that gains over PCA query by query, and with what share of PCA's distance to full width that is
closed; the same with documents of 1 bit per dimension, the best 50 reranked in full precision.
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
from nestvec.adapt import Linear, MatryoshkaAdaptor, Rotation, Transform
from nestvec.adapt.compare import baselines, compare
from nestvec.adapt.config import AdaptorConfig
from nestvec.adapt.evaluation import HeldOutQueries, ranking_quality
from nestvec.adapt.training_data import TrainingData
from nestvec.exact_top_k import exact_top_k
from nestvec.vectors import normalize

RESULT = Path(__file__).parent / "results" / "adapt.json"
SIZES = (32, 64, 128)
RERANK_DEPTH = 50
Fit = Callable[[Collection, int], Transform]


FREE = AdaptorConfig(
    initialization="neighbour_whitening",
    teacher="initialization",
    orthogonal=False,
    temperature=0.03,
    learning_rate=5e-3,
)


def _free(of: Collection, seed: int) -> Transform:
    return MatryoshkaAdaptor.fit(of.documents, SIZES, config=FREE, seed=seed, force=True)


def _supervised(of: Collection, seed: int) -> Transform:
    return MatryoshkaAdaptor.fit(
        of.documents, SIZES, of.train_pairs, queries=of.train, seed=seed, force=True
    )


def _papers(of: Collection, seed: int, pairs: bool) -> Transform:
    options = {"pairs": of.train_pairs, "queries": of.train} if pairs else {}
    config = AdaptorConfig.paper(of.documents.shape[1])
    return MatryoshkaAdaptor.fit(
        of.documents, SIZES, config=config, seed=seed, force=True, **options
    )


# The names are keys of `results/adapt.json`, from before the glossary.
METHODS: dict[str, Fit] = {
    "prefix": lambda of, seed: baselines(of.documents, seed)["prefix"],
    "random": lambda of, seed: baselines(of.documents, seed)["random rotation"],
    "pca": lambda of, seed: Rotation.fit(of.documents),
    "centred pca": lambda of, seed: Linear.fit_centered_pca(of.documents),
    "neighbours": lambda of, seed: Linear.fit_neighbour_whitening(of.documents, seed=seed),
    "rotation": lambda of, seed: Rotation.learn(of.documents, SIZES, seed=seed),
    "adaptor": lambda of, seed: MatryoshkaAdaptor.fit(of.documents, SIZES, seed=seed),
    "adaptor, free": _free,
    "adaptor, pairs": _supervised,
    "paper": lambda of, seed: _papers(of, seed, pairs=False),
    "paper, pairs": lambda of, seed: _papers(of, seed, pairs=True),
}
LEARN_FROM_PAIRS = ("adaptor, pairs", "paper, pairs")
_MIN_QUERIES = 34


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--seed", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--method", nargs="+", choices=METHODS, default=tuple(METHODS))
    parser.add_argument("--without", nargs="+", choices=METHODS, default=())
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    results = json.loads(options.out.read_text()) if options.out.exists() else {"runs": []}
    results |= {"machine": machine(()), "sizes": SIZES, "rescored": RERANK_DEPTH}
    finished = {(run["set"], run["seed"], run["method"]) for run in results["runs"]}
    for name in options.set:
        collection = load(name)
        for seed in options.seed:
            for method in [m for m in options.method if m not in options.without]:
                has_few = len(collection.train) < _MIN_QUERIES
                if (name, seed, method) in finished or (has_few and method in LEARN_FROM_PAIRS):
                    continue
                results["runs"].append(measure(collection, seed, method))
                options.out.write_text(json.dumps(results, indent=1) + "\n")


def measure(of: Collection, seed: int, method: str) -> dict[str, Any]:
    """Fit a method, and score it on the test queries, beside PCA."""
    start_s = time.process_time()
    transform = METHODS[method](of, seed)
    duration_s = time.process_time() - start_s
    data = TrainingData.read(of.documents, of.test_pairs, of.test)
    comparison = compare({"pca": Rotation.fit(of.documents), method: transform}, data, SIZES, seed)
    cells = {cell.dims: cell for cell in comparison.cells if cell.method == method}
    pca = {
        cell.dims: cell.metrics["ndcg@10"].value
        for cell in comparison.cells
        if cell.method == "pca"
    }
    full = pca[max(pca)]
    scores = {
        str(dims): {
            "ndcg@10": cell.metrics["ndcg@10"], "overlap@10": cell.metrics["overlap@10"],
            "gain": cell.gains["ndcg@10"], "closed": _share_closed(cell, pca[dims], full),
            **({} if dims > SIZES[-1] else {"at 1 bit": _one_bit(transform, data, dims)}),
        }
        for dims, cell in sorted(cells.items())
    }  # fmt: skip
    report = getattr(transform, "report", None)
    run = {
        "set": of.name, "seed": seed, "method": method, "strict": of.strict,
        "documents": len(of.documents), "test_queries": len(data.queries),
        "train_queries": len(of.train), "seconds": round(duration_s, 2),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "lossless": transform.preserves_inner_products, "said": report and report.summary,
        "sizes": scores,
    }  # fmt: skip
    line = {dims: f"{score['ndcg@10'].value:.4f}" for dims, score in scores.items()}
    print(of.name, seed, method, line, f"{duration_s:.0f} s", flush=True)
    return run


def _share_closed(cell: Any, pca: float, full: float) -> float | None:
    """Share of PCA's distance to full width that is closed; None where there is no distance."""
    return None if full <= pca else (cell.metrics["ndcg@10"].value - pca) / (full - pca)


def _one_bit(transform: Transform, data: TrainingData, dims: int) -> dict[str, float]:
    """Score sign codes whose best are reranked: nDCG@10, and its share of the floats'."""
    held_out = HeldOutQueries.from_data(data)
    queries = normalize(transform.transform_queries(data.queries, dims))
    documents = normalize(transform.transform(data.documents, dims))
    signs = np.where(documents >= 0, np.float32(1), np.float32(-1))
    rows, _ = exact_top_k(queries, signs, RERANK_DEPTH, data.self_match)
    scores = np.einsum("qd,qkd->qk", queries, documents[rows])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    reranked = np.take_along_axis(rows, order, axis=1)
    ndcg = ranking_quality(reranked, held_out.targets).mean()
    return {"ndcg@10": float(ndcg), "kept": float(ndcg / held_out.score(queries, documents).mean())}


if __name__ == "__main__":
    main()
