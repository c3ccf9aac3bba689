"""Recall and speed of filtered searches, against the same search without a filter.

    python benchmarks/filters.py [--queries 1000]

200,000 arXiv sentences with metadata made up: a number drawn at random, and how near a row is to
three random rows (a "topic", which moves the neighbours). Filters allow 0.1 % to 100 % of the rows.
Recall by id against float64 brute force over the allowed rows; one thread, one query at a time,
rounds interleaved, medians. Writes `results/filters.json`.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import nestvec as nv

HERE = Path(__file__).parent
DATA = HERE / "data" / "arxiv-sentences-200000"
RESULT = HERE / "results" / "filters.json"
K = 10
SHARES = (0.001, 0.01, 0.1, 0.5, 1.0)
TOPICS = 3
CATEGORIES = ("cs.CL", "cs.IR", "cs.LG", "math.PR", "hep-th", "quant-ph")
EXACT = "probe=all; full"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    vectors = np.load(f"{DATA}.corpus.npy")
    queries = np.load(f"{DATA}.queries.npy")[: options.queries]
    columns = made_up(vectors)
    with tempfile.TemporaryDirectory() as folder:
        index = nv.Index.build(vectors, Path(folder) / "i.nv", metadata=as_metadata(columns))
        mask_ms = first_asked(index, queries)
        rows = measure(index, vectors, queries, columns, options.rounds)
    result = {
        "rows": len(vectors),
        "queries": len(queries),
        "k": K,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "plan": str(index.default_plan(K)),
        "new_filter_ms": mask_ms,
        "search": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print_table(result)


def made_up(vectors: np.ndarray) -> dict[str, np.ndarray]:
    """Per column the share of rows that come before a row: `column < s` allows the share s."""
    rng = np.random.default_rng(14)
    columns = {"random": rng.random(len(vectors))}
    for topic in range(TOPICS):
        columns[f"topic{topic}"] = -(vectors @ vectors[rng.integers(len(vectors))])
    # The rows farthest from a topic: no subject in common, but none of the queries' near it.
    columns["far"] = -columns["topic0"]
    return {name: values.argsort().argsort() / len(vectors) for name, values in columns.items()}


def as_metadata(columns: dict[str, np.ndarray]) -> list[dict[str, object]]:
    """With the title, year and category that papers have."""
    rng = np.random.default_rng(15)
    count = len(columns["random"])
    years = rng.integers(1990, 2025, count).tolist()
    categories = rng.integers(0, len(CATEGORIES), count).tolist()
    lists = {name: values.tolist() for name, values in columns.items()}
    return [
        {
            "title": f"On the {row}th of many made-up titles, as long as titles are",
            "year": years[row],
            "category": CATEGORIES[categories[row]],
            **{name: values[row] for name, values in lists.items()},
        }
        for row in range(count)
    ]


def first_asked(index: nv.Index, queries: np.ndarray) -> dict[str, float]:
    """What a filter costs that was not asked for before: the median of several like it."""
    index.search(queries[:1], K)
    forms = {
        "year = ...": "year = {}",
        "year >= ... and category in (...)": "year >= {} and category in ('cs.CL', 'cs.IR')",
        "random < ... (all rows)": "random < {}",
    }
    cost = {}
    for name, form in forms.items():
        took = []
        for value in range(2001, 2008):
            start = time.perf_counter()
            index.search(queries[:1], K, where=form.format(value))
            took.append(1e3 * (time.perf_counter() - start))
        cost[name] = round(statistics.median(took), 1)
    return cost


def measure(
    index: nv.Index,
    vectors: np.ndarray,
    queries: np.ndarray,
    columns: dict[str, np.ndarray],
    rounds: int,
) -> list[dict[str, object]]:
    scores = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    cases = {f"{name} < {s}": (s, columns[name] < s) for name in columns for s in SHARES}
    measured = []
    for where, (share, allowed) in cases.items():
        truth = best(scores, allowed)
        found = index.search(queries, K, where=where, threads=1).ids
        exact = index.search(queries[:100], K, plan=EXACT, where=where, threads=1).ids
        times: dict[str, list[float]] = {"with": [], "without": []}
        for _ in range(rounds):
            times["without"].append(seconds(index, queries, None))
            times["with"].append(seconds(index, queries, where))
        speed = {name: len(queries) / statistics.median(took) for name, took in times.items()}
        measured.append(
            {
                "where": where,
                "share": share,
                "recall_at_10": round(recall(found, truth), 4),
                "exact_recall_at_10": round(recall(exact, truth[:100]), 4),
                "queries_per_s": round(speed["with"], 1),
                "unfiltered_queries_per_s": round(speed["without"], 1),
                "relative_speed": round(speed["with"] / speed["without"], 2),
            }
        )
        print(measured[-1], file=sys.stderr, flush=True)
    return measured


def best(scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(allowed)
    order = np.argpartition(-scores[:, rows], K - 1, axis=1)[:, :K]
    return rows[order]


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    shared = [len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist(), strict=True)]
    return float(np.mean(shared)) / K


def seconds(index: nv.Index, queries: np.ndarray, where: str | None) -> float:
    start = time.perf_counter()
    for i in range(len(queries)):
        index.search(queries[i : i + 1], K, where=where, threads=1)
    return time.perf_counter() - start


def print_table(result: dict) -> None:
    """As decision 14 quotes it."""
    print("| filter | recall@10 | exact | queries/s | of unfiltered |\n|---|---|---|---|---|")
    for row in result["search"]:
        print(
            f"| {row['where']} | {row['recall_at_10']:.3f} | {row['exact_recall_at_10']:.3f} "
            f"| {row['queries_per_s']:,.0f} | {row['relative_speed']:.2f} |"
        )
    print(result["new_filter_ms"])


if __name__ == "__main__":
    main()
