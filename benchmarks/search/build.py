"""Building an index in a process of its own, so that time and memory are its own; kept for reuse.

python -m benchmarks.search.build DATASET ENGINE [--threads 2]
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import nestvec
from benchmarks.search.catalog import load
from benchmarks.search.dataset import DATA, Dataset, fingerprint
from benchmarks.search.engines import engine
from benchmarks.search.engines.base import Engine

ROOT = Path(__file__).parents[2]
_RECORD = "build.json"


@dataclass(frozen=True)
class Built:
    """How an index was built, or why it was not."""

    key: str
    """What it was built from and by: another key means that it must be built anew."""
    threads: int
    seconds: float | None = None
    peak_bytes: int | None = None
    """Most anonymous memory during the build above that before it; the vectors are a file's."""
    load_before: float | None = None
    """Processes that wanted a core before: above 0.5, the build time is not to be quoted."""
    failed: str | None = None
    from_cache: bool = False


def place(data: Dataset, name: str) -> Path:
    """Where the index of engine `name` over `data` is kept."""
    return DATA / "peers" / data.name / name


def built(data: Dataset, name: str, threads: int, rebuild: bool) -> Built:
    """Build engine `name` over `data` in a new process, or find it built before."""
    folder = place(data, name)
    kept = read(folder)
    if kept and kept.key == key(data, name) and not rebuild:
        return kept
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = data.path or data.name
    command = [sys.executable, "-m", "benchmarks.search.build", str(source), name]
    limits = {f"{v}_NUM_THREADS": str(threads) for v in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    run = subprocess.run(
        [*command, "--threads", str(threads)],
        cwd=ROOT, env={**os.environ, **limits}, capture_output=True, text=True,
    )  # fmt: skip
    made = read(folder)
    if run.returncode or made is None:
        # An engine may refuse the processor by ending the process with a line on its output.
        reason = (run.stderr.strip() or run.stdout.strip()).splitlines()[-1:]
        failed = reason[0] if reason else f"ended with exit status {run.returncode}"
        made = Built(key(data, name), threads, failed=failed)
        write(folder, made)
    return Built(**{**asdict(made), "from_cache": False})


def key(data: Dataset, name: str) -> str:
    """The data, the engine with its build parameters, its version: for nestvec, its source."""
    chosen = engine(name)
    code = _source() if chosen.kind == "nestvec" else f"{chosen.package} {version(chosen.package)}"
    return f"{fingerprint(data)}; {chosen.title}; {code}"


def read(folder: Path) -> Built | None:
    """The record of a finished build."""
    path = folder / _RECORD
    if not path.exists():
        return None
    return Built(**{**json.loads(path.read_text()), "from_cache": True})


def write(folder: Path, record: Built) -> None:
    """Written last: without it the folder is not an index."""
    (folder / _RECORD).write_text(json.dumps(asdict(record), indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("engine")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    data, chosen = load(options.dataset), engine(options.engine)
    write(place(data, options.engine), measured(chosen, data, options))


def measured(chosen: Engine, data: Dataset, options: argparse.Namespace) -> Built:
    """Build and save, and say what the building took."""
    folder = place(data, options.engine)
    folder.mkdir(parents=True, exist_ok=True)
    load_before = os.getloadavg()[0]
    data.vectors.sum()  # read the file once: the first engine should not pay for the disk
    with peak_anonymous() as peak:
        start = time.perf_counter()
        index = chosen.build(data, folder, options.threads)
        seconds = time.perf_counter() - start
    chosen.save(index, data, folder)
    made = key(data, options.engine)
    return Built(made, options.threads, round(seconds, 2), peak[0], round(load_before, 2))


@contextmanager
def peak_anonymous() -> Iterator[list[int]]:
    """Watch the anonymous memory of this process; the list holds the peak above the start."""
    peak = [0]
    before = anonymous_bytes()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], anonymous_bytes() - before)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        peak[0] = max(peak[0], anonymous_bytes() - before)
        done.set()
        watcher.join()


def anonymous_bytes() -> int:
    """Memory that is no file's: pages of mapped files can be dropped by the system at any time."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


def _source() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(nestvec.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return f"nestvec source {digest.hexdigest()[:12]}"


if __name__ == "__main__":
    main()
