"""Adapting from start to end by the command line, on two collections.

    python -m benchmarks.adapted

An adaptor learns from half of the judged queries, as `judged.py` splits them; the other half
compares it, searches an index that was built with it, and audits that index. What was typed and
what came out goes to `docs/reference/examples/adapt/<name>.txt`, the comparison to `.json` and
`.png`.
"""

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.judged import Collection, load

SHOWN = Path(__file__).parents[1] / "docs" / "reference" / "examples" / "adapt"
NAMES = ("scifact", "cranfield")
_DIMS = "--dims 32 --dims 64 --dims 128"
COMMANDS = (
    f"adapt fit corpus.npy train.npy --qrels train.tsv {_DIMS} -o adaptor.safetensors",
    f"adapt compare corpus.npy test.npy --qrels test.tsv {_DIMS} --transform adaptor.safetensors "
    "-o comparison",
    "index corpus.npy -o adapted.nv --transform adaptor.safetensors",
    "search adapted.nv --vectors one.npy -k 3 --stats",
    f"audit adapted.nv test.npy --qrels test.tsv --dims 384 {_DIMS} --bits 32 --bits 1 -o audit",
)


def main() -> None:
    SHOWN.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            write(load(name), Path(folder))
            outputs = [run(command, Path(folder)) for command in COMMANDS]
            (SHOWN / f"{name}.txt").write_text("\n".join(outputs))
            for kind in ("json", "png"):
                shutil.copy(
                    Path(folder) / f"comparison/comparison.{kind}", SHOWN / f"{name}.{kind}"
                )


def write(of: Collection, folder: Path) -> None:
    """Write vectors and judgments to files; ids are row numbers."""
    vectors = {"corpus": of.documents, "train": of.train, "test": of.test, "one": of.test[:1]}
    for name, rows in vectors.items():
        np.save(folder / f"{name}.npy", rows)
    for name, pairs in (("train", of.train_pairs), ("test", of.test_pairs)):
        lines = [f"{query}\t{document}\t{grade:g}" for query, document, grade in pairs]
        text = "\n".join(["query-id\tcorpus-id\tscore", *lines])
        (folder / f"{name}.tsv").write_text(text + "\n")


def run(command: str, folder: Path) -> str:
    """Run a command, and give it as typed with its output."""
    arguments: Sequence[str] = (sys.executable, "-m", "nestvec.cli", *shlex.split(command))
    finished = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    if finished.returncode:
        sys.exit(f"nestvec {command}\n{finished.stdout}{finished.stderr}")
    return f"$ nestvec {command}\n{finished.stdout}"


if __name__ == "__main__":
    main()
