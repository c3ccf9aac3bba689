"""An audit at its stated size: seconds, memory, and where both go, with and without judgements.

    python -m benchmarks.audit [--rows 100000] [--dim 1024] [--queries 2000]

Eight sizes at four precisions, of synthetic unit vectors (a thousand clusters, a power-law
spectrum); each query lies near one document, which answers it. Each audit runs in a process of its
own. Memory is the peak resident set, the vectors themselves included. Stages are the shares of the
time in which functions of nestvec run, looked at a hundred times a second: in the thread that ranks
and in the one that measures, so that they may add up to two.

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
LOOKS_PER_S = 100
SHOWN = 12


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
        found = {name: in_a_process(folder, name) for name in ("judged", "unjudged")}
    for name, one in found.items():
        print(name, one["wall_s"], "s,", one["peak_mb"], "MB")
    RESULT.write_text(json.dumps(about | {"audits": found}, indent=1) + "\n")


def sizes(dim: int) -> list[int]:
    return [max(1, int(dim * share)) for share in SHARES]


def write_vectors(folder: Path, rows: int, dim: int, queries: int) -> None:
    rng = np.random.default_rng(SEED)
    spread = np.arange(1, dim + 1, dtype=np.float32) ** -0.5
    centres = rng.standard_normal((CLUSTERS, dim), np.float32)
    documents = centres[rng.integers(CLUSTERS, size=rows)]
    documents += 0.8 * rng.standard_normal((rows, dim), np.float32)
    documents = unit(documents * spread)
    answers = rng.choice(rows, queries, replace=False)
    noise = unit(rng.standard_normal((queries, dim), np.float32) * spread)
    np.save(folder / "documents.npy", documents)
    np.save(folder / "queries.npy", unit(documents[answers] + 0.9 * noise))
    np.save(folder / "answers.npy", answers)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def in_a_process(folder: str, judged: str) -> dict[str, object]:
    command = [sys.executable, "-m", "benchmarks.audit", "--run", folder, judged]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def measure(folder: Path, judged: bool) -> dict[str, object]:
    """One audit, kernels cached; importing what it takes is counted."""
    from nestvec.kernels import load_scoring

    load_scoring()
    documents, queries, answers = (
        np.load(folder / f"{name}.npy") for name in ("documents", "queries", "answers")
    )
    qrels = {query: {int(answer): 1} for query, answer in enumerate(answers)} if judged else None
    variants = [{"dims": d, "bits": b} for b in BITS for d in sizes(documents.shape[1])]
    start, cpu = time.perf_counter(), time.process_time()
    with looking() as stages, tempfile.TemporaryDirectory() as kept:
        from nestvec.auditing import audit

        audit(documents, queries, qrels, variants=variants, seed=SEED, resume=kept)
    return {
        "wall_s": round(time.perf_counter() - start, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
        "stages": stages,
    }


@contextmanager
def looking() -> Iterator[dict[str, float]]:
    """Filled at the end: the share of the time in each of the functions that take most."""
    stages: dict[str, float] = {}
    seen: Counter[str] = Counter()
    done, looks = threading.Event(), 0

    def watch() -> None:
        nonlocal looks
        while not done.wait(1 / LOOKS_PER_S):
            seen.update(stage for frame in sys._current_frames().values() if (stage := of(frame)))
            looks += 1

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield stages
    finally:
        done.set()
        watcher.join()
    stages |= {stage: round(count / max(1, looks), 3) for stage, count in seen.most_common(SHOWN)}


def of(frame: FrameType | None) -> str | None:
    """The innermost function of nestvec that a thread is in; None where there is none."""
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("nestvec."):
            return f"{name.removeprefix('nestvec.')}.{frame.f_code.co_name}"
        frame = frame.f_back
    return None


if __name__ == "__main__":
    main()
