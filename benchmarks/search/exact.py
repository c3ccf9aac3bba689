"""Exact search: nestvec with proof against FAISS, one thread, single queries and batches.

    python -m benchmarks.search.exact [--dataset arxiv-sentences-500000] [--queries 200]

Three exact engines in turn: `index.search(q, k, exact=True)`, FAISS Flat, and Panorama after a
PCA, which cuts distances short by bounds. Beside speed: which share of the float32 bytes nestvec
read, for which share of the queries it proved its answer exact, and how many of each engine's
answers equal float64 brute force, in ids and order. Writes `results/exact/<dataset>.json`.
"""

import argparse
import json
import statistics
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import nestvec as nv
from benchmarks.search import catalog
from benchmarks.search.build import built, place
from benchmarks.search.dataset import Dataset, Truth, exact_truth
from benchmarks.search.engines import engine
from benchmarks.search.engines.base import Setting, do_nothing
from benchmarks.search.run import about, machine

RESULTS = Path(__file__).parents[1] / "results" / "exact"
ENGINES = ("nestvec", "faiss-flat", "faiss-panorama")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", nargs="+", default=["arxiv-sentences-500000"])
    parser.add_argument("--queries", type=int, default=200, help="timed one by one, per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--rebuild", action="store_true", help="build anew what has been kept")
    chosen = parser.parse_args()
    for name in chosen.dataset:
        result = run(catalog.load(name), chosen)
        print(json.dumps(result["summary"], indent=1), flush=True)
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def run(data: Dataset, chosen: argparse.Namespace) -> dict[str, Any]:
    """Build, check every answer, time, sum up."""
    settings = {name: setting(data, name, chosen) for name in ENGINES}
    queries = np.array(data.queries)  # rows of a memory map are slow to take
    with threadpool_limits(1):
        right = {
            name: equal_to_brute_force(s, queries, exact_truth(data), chosen.k)
            for name, s in settings.items()
        }
        speeds = timed(settings, queries[: chosen.queries], chosen.rounds)
        batched = timed_batches(settings, queries, chosen.rounds)
    result = {
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(["python -m benchmarks.search.exact", *sys.argv[1:]]),
        "machine": machine(ENGINES),
        "data": about(data),
        "k": chosen.k,
        "queries_timed": chosen.queries,
        "queries_per_s": {name: median(rounds) for name, rounds in speeds.items()},
        "rounds": {name: [round(v, 2) for v in rounds] for name, rounds in speeds.items()},
        "batch_queries_per_s": {name: median(rounds) for name, rounds in batched.items()},
        "share_equal_to_float64": right,
        "nestvec": evidence(data, chosen.k),
    }
    return {**result, "summary": summary(result)}


def setting(data: Dataset, name: str, chosen: argparse.Namespace) -> Setting:
    """The exact search of an engine, built before or now."""
    record = built(data, name, threads=2, rebuild=chosen.rebuild)
    if record.failed:
        raise SystemExit(f"{name} was not built: {record.failed}")
    if name != "nestvec":
        return engine(name).open(data, place(data, name)).settings(chosen.k)[0]
    index = nv.Index.open(place(data, name) / "index.nv")
    return Setting(
        "exact",
        do_nothing,
        lambda query: index.search(query[None], chosen.k, exact=True, threads=1).ids[0],
        lambda queries, threads: index.search(queries, chosen.k, exact=True, threads=threads).ids,
    )


def equal_to_brute_force(one: Setting, queries: np.ndarray, truth: Truth, k: int) -> float:
    """The share of queries whose ids are those of float64 brute force, in the same order."""
    ids = np.asarray([one.one(query) for query in queries])
    return float((ids == truth.ids[:, :k]).all(axis=1).mean())


def timed(settings: dict[str, Setting], queries: np.ndarray, rounds: int) -> dict[str, list[float]]:
    """Queries/s of each engine and round, one query at a time."""
    speeds: dict[str, list[float]] = {name: [] for name in settings}
    for _ in range(rounds):
        for name, one in settings.items():
            start = time.perf_counter()
            for query in queries:
                one.one(query)
            speeds[name].append(len(queries) / (time.perf_counter() - start))
    return speeds


def timed_batches(
    settings: dict[str, Setting], queries: np.ndarray, rounds: int
) -> dict[str, list[float]]:
    """Queries/s of one batch of all queries on one thread."""
    speeds: dict[str, list[float]] = {name: [] for name in settings}
    for _ in range(rounds):
        for name, one in settings.items():
            start = time.perf_counter()
            one.batch(queries, 1)
            speeds[name].append(len(queries) / (time.perf_counter() - start))
    return speeds


def evidence(data: Dataset, k: int) -> dict[str, float]:
    """What nestvec says of its own answers: share proved, and bytes read against all of float32."""
    index = nv.Index.open(place(data, "nestvec") / "index.nv")
    hits = index.search(data.queries, k, exact=True)
    return {
        "share_certified": float(np.mean(hits.certified)),
        "share_of_bytes_read": hits.stats.size_bytes / len(data.queries) / data.vectors.nbytes,
    }


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """The figures that are asked for."""
    speeds, batched = result["queries_per_s"], result["batch_queries_per_s"]
    return {
        "queries_per_s": speeds,
        "times_flat": round(speeds["nestvec"] / speeds["faiss-flat"], 2),
        "times_panorama": round(speeds["nestvec"] / speeds["faiss-panorama"], 2),
        "batch_queries_per_s": batched,
        "times_flat_in_batch": round(batched["nestvec"] / batched["faiss-flat"], 2),
        "share_equal_to_float64": result["share_equal_to_float64"],
        **result["nestvec"],
    }


def median(values: list[float]) -> float:
    return round(statistics.median(values), 2)


if __name__ == "__main__":
    main()
