"""Time and memory of an audit at its documented size, with and without relevance judgments.

    python -m benchmarks.audit [--rows 100000] [--dim 1024] [--queries 2000]

It audits eight sizes at four precisions of synthetic unit vectors (a thousand clusters, a power-law
spectrum). Each query lies near one document, its only relevant one. Each audit runs in its own
process. Memory is the peak resident set, with the vectors. Stages are the shares of the time that
functions of nestvec take, sampled a hundred times a second in the thread that ranks and in the one
that measures, so they may add up to two.

Writes `results/audit.json`.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np

from benchmarks.search.run import machine

RESULT = Path(__file__).parent / "results" / "audit.json"
SHARES = (1, 0.75, 0.5, 0.375, 0.25, 0.125, 0.0625, 0.03125)
BITS = (32, 8, 4, 1)
SEED = 0
CLUSTERS = 1000
SAMPLES_PER_S = 100
MAX_STAGES = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        folder, judged = options.run
        print(json.dumps(measure(Path(folder), judged == "judged")))
        return
    about = {"machine": machine(("nestvec",)), "seed": SEED}
    about |= {"rows": options.rows, "dim": options.dim, "queries": options.queries}
    about |= {"dims": sizes(options.dim), "bits": BITS}
    with tempfile.TemporaryDirectory() as folder:
        write_vectors(Path(folder), options.rows, options.dim, options.queries)
        audits = {name: audit_in_process(folder, name) for name in ("judged", "unjudged")}
    for name, result in audits.items():
        print(name, result["wall_s"], "s,", result["peak_mb"], "MB")
    RESULT.write_text(json.dumps(about | {"audits": audits}, indent=1) + "\n")


def sizes(dim: int) -> list[int]:
    return [max(1, int(dim * share)) for share in SHARES]


def write_vectors(folder: Path, rows: int, dim: int, queries: int) -> None:
    rng = np.random.default_rng(SEED)
    spread = np.arange(1, dim + 1, dtype=np.float32) ** -0.5
    centres = rng.standard_normal((CLUSTERS, dim), np.float32)
    documents = centres[rng.integers(CLUSTERS, size=rows)]
    documents += 0.8 * rng.standard_normal((rows, dim), np.float32)
    documents = normalize_rows(documents * spread)
    answers = rng.choice(rows, queries, replace=False)
    noise = normalize_rows(rng.standard_normal((queries, dim), np.float32) * spread)
    np.save(folder / "documents.npy", documents)
    np.save(folder / "queries.npy", normalize_rows(documents[answers] + 0.9 * noise))
    np.save(folder / "answers.npy", answers)


def normalize_rows(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def audit_in_process(folder: str, judged: str) -> dict[str, object]:
    command = [sys.executable, "-m", "benchmarks.audit", "--run", folder, judged]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def measure(folder: Path, judged: bool) -> dict[str, object]:
    """Measure one audit with cached kernels; the time of its imports counts."""
    from nestvec.kernels import load_scoring

    load_scoring()
    documents, queries, answers = (
        np.load(folder / f"{name}.npy") for name in ("documents", "queries", "answers")
    )
    qrels = {query: {int(answer): 1} for query, answer in enumerate(answers)} if judged else None
    variants = [{"dims": d, "bits": b} for b in BITS for d in sizes(documents.shape[1])]
    start, cpu = time.perf_counter(), time.process_time()
    with sampled_stages() as stages, tempfile.TemporaryDirectory() as checkpoint:
        from nestvec.auditing import audit

        audit(documents, queries, qrels, variants=variants, seed=SEED, checkpoint=checkpoint)
    return {
        "wall_s": round(time.perf_counter() - start, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
        "stages": stages,
    }


@contextmanager
def sampled_stages() -> Iterator[dict[str, float]]:
    """Sample the running functions; at the end, fill in the shares of those that take most."""
    stages: dict[str, float] = {}
    counts: Counter[str] = Counter()
    finished, n_samples = threading.Event(), 0

    def watch() -> None:
        nonlocal n_samples
        while not finished.wait(1 / SAMPLES_PER_S):
            counts.update(
                stage
                for frame in sys._current_frames().values()
                if (stage := innermost_function(frame))
            )
            n_samples += 1

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield stages
    finally:
        finished.set()
        watcher.join()
    stages |= {
        stage: round(count / max(1, n_samples), 3)
        for stage, count in counts.most_common(MAX_STAGES)
    }


def innermost_function(frame: FrameType | None) -> str | None:
    """Name the innermost function of nestvec that a thread is in; None outside nestvec."""
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("nestvec."):
            return f"{name.removeprefix('nestvec.')}.{frame.f_code.co_name}"
        frame = frame.f_back
    return None


if __name__ == "__main__":
    main()
