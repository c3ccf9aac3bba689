"""Seconds from the start of a process to its first answer: kernels cached, and compiled anew.

    python -m benchmarks.start [--dataset arxiv-titles]

Writes `results/start.json`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.search import catalog
from benchmarks.search.build import built, place
from benchmarks.search.run import machine

RESULT = Path(__file__).parent / "results" / "start.json"
_CODE = (
    "import sys, numpy as np, nestvec as nv; index = nv.Index.open(sys.argv[1]); "
    "index.search(np.ones((1, index.dim), np.float32))"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="arxiv-titles")
    data = catalog.load(parser.parse_args().dataset)
    built(data, "nestvec", os.cpu_count() or 1, rebuild=False)
    path = place(data, "nestvec") / "index.nv"
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        cold = first_answer(path, environment)
        warm = statistics.median(first_answer(path, environment) for _ in range(5))
    measured = {"first_answer_cold_s": round(cold, 2), "first_answer_warm_s": round(warm, 2)}
    print(measured)
    result = {"data": data.name, "machine": machine(("nestvec",)), **measured}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


def first_answer(path: Path, environment: dict[str, str]) -> float:
    """Seconds until a new process has opened the index, searched it and ended."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", _CODE, str(path)], check=True, env=environment)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
