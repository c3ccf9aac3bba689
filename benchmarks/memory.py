"""Peak memory of a build from a memory-mapped file, against the size of the vectors.

    python benchmarks/memory.py [--rows 250000 1000000] [--dim 256]

Anonymous memory is what counts: pages of the mapped files can be dropped by the system at any time.
The vectors are synthetic (a power-law spectrum); memory does not depend on their values. Writes
`results/memory.json`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

RESULT = Path(__file__).parent / "results" / "memory.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[250_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--build", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        build(Path(options.build))
        return
    results = []
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "vectors.npy"
            write_vectors(path, rows, options.dim)
            command = [sys.executable, __file__, "--build", str(path)]
            measured = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        results.append({"rows": rows, "vector_mb": rows * options.dim * 4 / 1e6, **measured})
        print(results[-1])
    RESULT.write_text(json.dumps({"dim": options.dim, "builds": results}, indent=1) + "\n")


def write_vectors(path: Path, rows: int, dim: int) -> None:
    array = np.lib.format.open_memmap(path, "w+", np.float32, (rows, dim))
    rng = np.random.default_rng(0)
    spread = np.arange(1, dim + 1) ** -0.6
    for first in range(0, rows, 50_000):
        block = rng.standard_normal((min(50_000, rows - first), dim)) * spread
        array[first : first + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)


def build(path: Path) -> None:
    import nestvec as nv

    peak = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], anonymous_kb())

    vectors = np.load(path, mmap_mode="r")
    before = anonymous_kb()
    threading.Thread(target=watch, daemon=True).start()
    start = time.perf_counter()
    nv.Index.build(vectors, path.with_suffix(".nv"))
    seconds = time.perf_counter() - start
    done.set()
    print(json.dumps({"peak_mb": (peak[0] - before) / 1e3, "build_s": round(seconds, 1)}))


def anonymous_kb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


if __name__ == "__main__":
    main()
