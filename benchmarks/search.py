"""nestvec against FAISS on real sentence vectors: one process, one thread, interleaved rounds.

    python benchmarks/search.py [--rows 200000] [--rounds 5]

Every engine answers the same held-out queries one at a time (and once more as a batch), in turn,
`rounds` times; medians are reported. Recall is by id against float64 brute force. Writes
`results/search.json` and prints the table that the README quotes.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import faiss
import numpy as np
from datasets import Dataset, arxiv_sentences
from threadpoolctl import threadpool_limits

import nestvec as nv
from nestvec.metrics import recall_at_k

HERE = Path(__file__).parent
K = 10
FLAT_QUERIES = 50
"""Flat is slow: it answers fewer queries a round."""

Search = Callable[[np.ndarray], np.ndarray]
"""Queries [q, dim] → ids [q, K]."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    data = arxiv_sentences(options.rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.nv"
        engines, builds = build_all(data, path)
        rows = measure(engines, data, options.rounds)
        index = nv.Index.open(path)
        result = {
            "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": " ".join(["python", *sys.argv]),
            "machine": machine(),
            "data": {
                "name": data.name,
                "rows": len(data.vectors),
                "dim": data.vectors.shape[1],
                "queries": len(data.queries),
                "k": K,
            },
            "build": builds,
            "hot_bytes_per_row": index.hot_bytes / len(index),
            "disk_bytes_per_row": sum(f.stat().st_size for f in path.iterdir()) / len(index),
            "default_plan": str(index.default_plan(K)),
            "start": start_up(path),
            "search": rows,
        }
    result["summary"] = summary(result)
    out = HERE / "results" / "search.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["summary"], indent=1))


def machine() -> dict[str, object]:
    """What the figures depend on."""
    cpu = Path("/proc/cpuinfo").read_text().split("model name\t: ")[1].split("\n")[0]
    packages = {name: version(name) for name in ("nestvec", "numpy", "numba", "faiss-cpu")}
    python = platform.python_version()
    return {"cpu": cpu, "cores": os.cpu_count(), "python": python, **packages}


def build_all(data: Dataset, path: Path) -> tuple[dict[str, Search], dict[str, dict[str, float]]]:
    """Every engine and setting by name, and how long each index took to build on all cores."""
    vectors = np.ascontiguousarray(data.vectors)
    engines: dict[str, Search] = {}
    builds: dict[str, dict[str, float]] = {}

    def timed(name: str, build: Callable[[], object]) -> object:
        start = time.perf_counter()
        built = build()
        builds[name] = {"seconds": round(time.perf_counter() - start, 2)}
        print(name, builds[name], file=sys.stderr, flush=True)
        return built

    index = timed("nestvec", lambda: nv.Index.build(data.vectors, path))
    engines |= nestvec_settings(index)
    flat = timed("FAISS Flat", lambda: faiss_index("Flat", vectors))
    engines["FAISS Flat"] = lambda queries: flat.search(queries, K)[1]
    for cells in (1024, 2048):
        name = f"FAISS IVF{cells},RaBitQfs4 + refine"
        base = timed(name, lambda cells=cells: faiss_index(f"IVF{cells},RaBitQfs4", vectors))
        engines |= rabitq_settings(name, base, vectors)
    hnsw = timed("FAISS HNSW32 (efC 200)", lambda: hnsw_index(vectors))
    for ef in (32, 64, 128):
        engines[f"FAISS HNSW32, efSearch {ef}"] = hnsw_setting(hnsw, ef)
    return engines, builds


def nestvec_settings(index: nv.Index) -> dict[str, Search]:
    """The default plan, and the same funnel over fewer and more cells."""
    default = index.default_plan(K)
    plans = {"nestvec (default plan)": default}
    for probe in (100, 200, 300, 600):
        plans[f"nestvec, probe={probe}"] = nv.Plan(probe, default.stages)
    return {
        name: lambda queries, plan=plan: index.search(queries, K, plan=plan, threads=1).ids
        for name, plan in plans.items()
    }


def faiss_index(factory: str, vectors: np.ndarray) -> faiss.Index:
    index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    return index


def rabitq_settings(name: str, base: faiss.Index, vectors: np.ndarray) -> dict[str, Search]:
    refine = faiss.IndexRefineFlat(base, faiss.swig_ptr(vectors))
    ivf = faiss.extract_index_ivf(base)

    def setting(probe: int, factor: int) -> Search:
        def search(queries: np.ndarray) -> np.ndarray:
            ivf.nprobe = probe
            refine.k_factor = factor
            return refine.search(queries, K)[1]

        search.keep = (vectors, base, refine)  # FAISS holds no reference to them
        return search

    grid = [(probe, factor) for probe in (64, 96, 128, 160, 192, 224) for factor in (3, 5)]
    return {f"{name}, nprobe {p}, k_factor {f}": setting(p, f) for p, f in grid}


def hnsw_index(vectors: np.ndarray) -> faiss.Index:
    index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    index.add(vectors)
    return index


def hnsw_setting(index: faiss.Index, ef: int) -> Search:
    def search(queries: np.ndarray) -> np.ndarray:
        index.hnsw.efSearch = ef
        return index.search(queries, K)[1]

    return search


def exact_ids(data: Dataset) -> np.ndarray:
    """The true top K by float64 brute force, equal scores to the smaller row."""
    best = np.full((len(data.queries), K), -np.inf)
    ids = np.zeros((len(data.queries), K), np.int64)
    for first in range(0, len(data.vectors), 20_000):
        block = data.vectors[first : first + 20_000].astype(np.float64)
        scores = np.hstack([best, data.queries.astype(np.float64) @ block.T])
        rows = np.hstack([ids, np.tile(np.arange(first, first + len(block)), (len(ids), 1))])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        best = np.take_along_axis(scores, order, axis=1)
        ids = np.take_along_axis(rows, order, axis=1)
    return ids


def measure(engines: dict[str, Search], data: Dataset, rounds: int) -> list[dict[str, object]]:
    """Recall, and medians over the rounds of queries per second alone and in a batch."""
    truth = exact_ids(data)
    queries = np.ascontiguousarray(data.queries)
    one: dict[str, list[float]] = {name: [] for name in engines}
    batch: dict[str, list[float]] = {name: [] for name in engines}
    recall = {}
    faiss.omp_set_num_threads(1)
    with threadpool_limits(1):
        for name, search in engines.items():
            found = search(queries)
            recall[name] = float(recall_at_k(found, truth, K).mean())
        for round_ in range(rounds):
            for name, search in engines.items():
                asked = queries[:FLAT_QUERIES] if name == "FAISS Flat" else queries
                start = time.perf_counter()
                for i in range(len(asked)):
                    search(asked[i : i + 1])
                one[name].append(len(asked) / (time.perf_counter() - start))
                start = time.perf_counter()
                search(queries)
                batch[name].append(len(queries) / (time.perf_counter() - start))
            print(f"round {round_ + 1} of {rounds}", file=sys.stderr, flush=True)
    return [
        {
            "engine": name,
            "recall_at_10": round(recall[name], 4),
            "queries_per_s": round(statistics.median(one[name]), 1),
            "queries_per_s_all": [round(value, 1) for value in one[name]],
            "batch_queries_per_s": round(statistics.median(batch[name]), 1),
        }
        for name in engines
    ]


def start_up(path: Path) -> dict[str, float]:
    """Seconds from process start to the first answer: kernels cached, and compiled from nothing."""
    code = (
        "import numpy as np, nestvec as nv; index = nv.Index.open(__import__('sys').argv[1]); "
        "index.search(np.ones((1, index.dim), np.float32))"
    )

    def run(environment: dict[str, str]) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=environment)
        return round(time.perf_counter() - start, 2)

    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        cold = run(environment)
        warm = statistics.median(run(environment) for _ in range(5))
    return {"first_answer_cold_s": cold, "first_answer_warm_s": warm}


def summary(result: dict) -> dict[str, object]:
    """The figures that the issue and the README ask for."""
    by_name = {row["engine"]: row for row in result["search"]}
    ours, flat = by_name["nestvec (default plan)"], by_name["FAISS Flat"]
    needed = ours["recall_at_10"]
    # Equal within a permille, in the peer's favour: its grid does not hit our recall exactly.
    peers = [r for n, r in by_name.items() if "RaBitQ" in n and r["recall_at_10"] >= needed - 1e-3]
    peer = max(peers, key=lambda row: row["queries_per_s"])
    build = {name: entry["seconds"] for name, entry in result["build"].items()}
    return {
        "recall_at_10": needed,
        "queries_per_s": ours["queries_per_s"],
        "times_flat": round(ours["queries_per_s"] / flat["queries_per_s"], 1),
        "times_flat_in_batch": round(ours["batch_queries_per_s"] / flat["batch_queries_per_s"], 1),
        "rabitq": {key: peer[key] for key in ("engine", "recall_at_10", "queries_per_s")},
        "times_rabitq": round(ours["queries_per_s"] / peer["queries_per_s"], 1),
        "build_s": build,
        "times_hnsw_build": round(build["FAISS HNSW32 (efC 200)"] / build["nestvec"], 1),
        "hot_bytes_per_row": round(result["hot_bytes_per_row"], 1),
        "share_of_float_bytes": round(result["hot_bytes_per_row"] / 4 / result["data"]["dim"], 4),
        **result["start"],
    }


if __name__ == "__main__":
    main()
