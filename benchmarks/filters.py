"""Recall and speed of filtered searches, against searches without a filter and against scans.

    python -m benchmarks.filters [--queries 1000]

200,000 arXiv sentences with metadata made up: a number drawn at random, and how near a row is to
three random rows (a "topic", which moves the neighbours). Filters allow 0.1 % to 100 % of the rows.
Recall by id against float64 brute force over the allowed rows; one thread, one query at a time,
rounds interleaved, medians of processor time. What takes milliseconds is asked 100 queries a round.
FAISS Flat scans the allowed rows, told by their numbers (IDSelectorArray, its fastest form for few;
for all of them no slower than without). Writes `results/filters.json`.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import faiss
import numpy as np

import nestvec as nv
from benchmarks.search.run import machine

HERE = Path(__file__).parent
DATA = HERE / "data" / "arxiv-sentences-200000"
RESULT = HERE / "results" / "filters.json"
K = 10
SHARES = (0.001, 0.01, 0.1, 0.5, 1.0)
TOPICS = 3
CATEGORIES = ("cs.CL", "cs.IR", "cs.LG", "math.PR", "hep-th", "quant-ph")
SLOW = ("exact", "faiss_flat")
SLOW_QUERIES = 100

Way = Callable[[np.ndarray], np.ndarray]
"""From one query to the ids found."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    vectors = np.load(f"{DATA}.corpus.npy")
    queries = np.load(f"{DATA}.queries.npy")[: options.queries]
    columns, found_on = made_up(vectors), machine(("nestvec", "faiss-flat"))
    with tempfile.TemporaryDirectory() as folder:
        index = nv.Index.build(vectors, Path(folder) / "i.nv", metadata=as_metadata(columns))
        mask_ms = first_asked(index, queries)
        rows = measure(index, vectors, queries, columns, options.rounds)
    result = {
        "rows": len(vectors),
        "queries": len(queries),
        "k": K,
        "machine": found_on,
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
            start = time.process_time()
            index.search(queries[:1], K, where=form.format(value))
            took.append(1e3 * (time.process_time() - start))
        cost[name] = round(statistics.median(took), 1)
    return cost


def measure(
    index: nv.Index,
    vectors: np.ndarray,
    queries: np.ndarray,
    columns: dict[str, np.ndarray],
    rounds: int,
) -> list[dict[str, object]]:
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    scores = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    cases = {f"{name} < {s}": (s, columns[name] < s) for name in columns for s in SHARES}
    measured = []
    for where, (share, allowed) in cases.items():
        measured.append({"where": where, "share": share})
        ways = ways_of(index, flat, where, np.flatnonzero(allowed))
        measured[-1] |= compare(ways, queries, best(scores, allowed), rounds)
        print(measured[-1], file=sys.stderr, flush=True)
    return measured


def ways_of(index: nv.Index, flat: faiss.Index, where: str, rows: np.ndarray) -> dict[str, Way]:
    """Without the filter, with it, with it and a proof, and by a scan of the allowed rows."""
    selector = faiss.IDSelectorArray(rows)
    selected = faiss.SearchParameters(sel=selector)
    return {
        "unfiltered": lambda query: index.search(query, K, threads=1).ids,
        "default": lambda query: index.search(query, K, where=where, threads=1).ids,
        "exact": lambda query: index.search(query, K, where=where, exact=True, threads=1).ids,
        "faiss_flat": lambda query: flat.search(query, K, params=selected)[1],
    }


def compare(
    ways: dict[str, Way], queries: np.ndarray, truth: np.ndarray, rounds: int
) -> dict[str, object]:
    """Recall of each way but the unfiltered, and queries per second of processor time."""
    asked = {way: queries[: SLOW_QUERIES if way in SLOW else None] for way in ways}
    found, speeds = {}, {way: [] for way in ways}
    for _ in range(rounds):
        for way, search in ways.items():
            start = time.process_time()
            found[way] = [search(asked[way][i : i + 1])[0] for i in range(len(asked[way]))]
            speeds[way].append(len(asked[way]) / (time.process_time() - start))
    speed = {way: statistics.median(taken) for way, taken in speeds.items()}
    recalls = {way: recall(np.array(ids), truth) for way, ids in found.items()}
    return {
        "recall_at_10": {way: round(recalls[way], 4) for way in ways if way != "unfiltered"},
        "queries_per_cpu_s": {way: round(value, 1) for way, value in speed.items()},
        "times_unfiltered": round(speed["default"] / speed["unfiltered"], 2),
        "times_faiss_flat": round(speed["default"] / speed["faiss_flat"], 2),
        "exact_times_faiss_flat": round(speed["exact"] / speed["faiss_flat"], 2),
    }


def best(scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(allowed)
    order = np.argpartition(-scores[:, rows], K - 1, axis=1)[:, :K]
    return rows[order]


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """Of the first queries: as many as were asked."""
    pairs = zip(found.tolist(), truth[: len(found)].tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b)) for a, b in pairs])) / K


def print_table(result: dict) -> None:
    """As decision 14 quotes it."""
    print("| filter | recall@10 | exact | queries/cpu s | × unfiltered | × scan | exact × scan |")
    print("|---|---|---|---|---|---|---|")
    for row in result["search"]:
        recalls, speeds = row["recall_at_10"], row["queries_per_cpu_s"]
        print(
            f"| {row['where']} | {recalls['default']:.3f} | {recalls['exact']:.3f} "
            f"| {speeds['default']:,.0f} | {row['times_unfiltered']:.2f} "
            f"| {row['times_faiss_flat']:.2f} | {row['exact_times_faiss_flat']:.2f} |"
        )
    print(result["new_filter_ms"])


if __name__ == "__main__":
    main()
