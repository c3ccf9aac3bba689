"""One step of the nested contrastive loss, beside Sentence Transformers': time and memory.

    python -m benchmarks.losses [--batch 256 1024] [--rounds 3] [--threads 1]
    python -m benchmarks.losses --memory

All get the same inputs, vectors [batch, 768] for queries and documents; a step is the loss and its
gradient by both. Rounds are interleaved; figures are medians, with processor seconds beside those
of the clock. Peak memory is that of one step beyond its inputs, each in its own process, and does
not depend on what else runs. `large` is the largest batch, for nestvec alone. Both write
`results/losses.json`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmarks.memory import status_mb
from benchmarks.search.run import machine
from nestvec.losses import nested_info_nce

RESULT = Path(__file__).parent / "results" / "losses.json"
DIM = 768
NESTING_DIMS = {
    "1 cut": [768],
    "5 cuts": [768, 512, 256, 128, 64],
    "48 cuts": list(range(16, 769, 16)),
}
"""Nesting dims by their name in the result file."""
Step = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
"""Value of the loss and its gradients by queries and documents."""


def nestvec_step(dims: list[int]) -> Step:
    def step(queries: Tensor, documents: Tensor) -> tuple[Tensor, ...]:
        loss = nested_info_nce(queries, documents, dims)
        return loss.detach(), *torch.autograd.grad(loss, (queries, documents))

    return step


def reference_step(dims: list[int]) -> Step:
    def step(queries: Tensor, documents: Tensor) -> tuple[Tensor, ...]:
        loss = nested_info_nce(queries, documents, dims, method="reference")
        return loss.detach(), *torch.autograd.grad(loss, (queries, documents))

    return step


def sentence_transformers_step(dims: list[int], *, cached: bool) -> Step:
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
        MatryoshkaLoss,
        MultipleNegativesRankingLoss,
    )

    model = _Identity()
    plain = (
        CachedMultipleNegativesRankingLoss(model) if cached else MultipleNegativesRankingLoss(model)
    )
    loss_of = MatryoshkaLoss(model, plain, dims)

    def step(queries: Tensor, documents: Tensor) -> tuple[Tensor, ...]:
        queries.grad = documents.grad = None
        loss = loss_of([{"vectors": queries}, {"vectors": documents}], None)
        loss.backward()  # the cached loss makes its gradients in no other way
        return loss.detach(), queries.grad, documents.grad

    return step


class _Identity(nn.Sequential):
    """A model whose embeddings are its input: only the loss is measured."""

    def __init__(self) -> None:
        super().__init__(nn.Identity())  # the cached loss looks at a model's first module

    def get_embedding_dimension(self) -> int:
        return DIM

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sentence_embedding": features["vectors"]}


CONTESTANTS: dict[str, Callable[[list[int]], Step]] = {
    "nestvec": nestvec_step,
    "nestvec, reference": reference_step,
    "Sentence Transformers": lambda dims: sentence_transformers_step(dims, cached=False),
    "Sentence Transformers, cached": lambda dims: sentence_transformers_step(dims, cached=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", action="store_true", help="of the cases timed before")
    parser.add_argument("--large", type=int, default=32_768)
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        name, nesting, batch = options.memory_of
        print(json.dumps(memory_of(CONTESTANTS[name](NESTING_DIMS[nesting]), int(batch))))
    elif options.memory:
        add_memory(options.large)
    else:
        write({
            "machine": machine(()),
            "packages": {name: version(name) for name in ("torch", "sentence-transformers")},
            "threads": options.threads, "dim": DIM, "rounds": options.rounds,
            "cases": [
                case(batch, nesting, options.rounds)
                for batch in options.batch
                for nesting in NESTING_DIMS
            ],
        })  # fmt: skip


def add_memory(large: int) -> None:
    """Add memory figures to the result file, one after the other."""
    result = json.loads(RESULT.read_text())
    for entry in result["cases"]:
        for name, figures in entry["contestants"].items():
            figures |= memory_in_process(name, entry["cuts"], entry["batch"], result["threads"])
            write(result)
    figures = memory_in_process("nestvec", "5 cuts", large, result["threads"])
    result["large"] = {"batch": large, "cuts": "5 cuts", **figures}
    write(result)


def write(result: dict[str, Any]) -> None:
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


def case(batch: int, nesting: str, rounds: int) -> dict[str, Any]:
    """Time all contestants on one batch size and one list of nesting dims."""
    steps = {name: make(NESTING_DIMS[nesting]) for name, make in CONTESTANTS.items()}
    wall, cpu = ({name: [] for name in steps} for _ in range(2))
    inputs = vectors(batch)
    values = {name: step(*inputs) for name, step in steps.items()}
    for _ in range(rounds):
        for name, step in steps.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            step(*inputs)
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - start_cpu)
    timings = {
        name: {
            "seconds": round(statistics.median(wall[name]), 5),
            "cpu_seconds": round(statistics.median(cpu[name]), 5),
            "difference": difference(values[name], values["nestvec, reference"]),
        }
        for name in steps
    }
    print(batch, nesting, json.dumps(timings), flush=True)
    return {"batch": batch, "cuts": nesting, "contestants": timings}


def vectors(batch: int) -> tuple[Tensor, Tensor]:
    """Draw unit queries, and documents near them; no step's time depends on the values."""
    generator = torch.Generator().manual_seed(0)
    queries = normalize(torch.randn(batch, DIM, generator=generator))
    documents = normalize(queries + 0.15 * torch.randn(batch, DIM, generator=generator))
    return queries.requires_grad_(), documents.requires_grad_()


def difference(result: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    """Compute the largest difference of value and gradients, relative to the largest entry."""
    pairs = zip(result, expected, strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def memory_in_process(name: str, nesting: str, batch: int, threads: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.losses", "--threads", str(threads)]
    command += ["--memory-of", name, nesting, str(batch)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def memory_of(step: Step, batch: int) -> dict[str, float]:
    """Measure the MB that a step takes beyond its inputs, its gradients included."""
    step(*vectors(64))  # libraries set up their own buffers
    inputs = vectors(batch)
    baseline_mb = status_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    step(*inputs)
    return {"peak_mb": round(status_mb("VmHWM") - baseline_mb, 1)}


if __name__ == "__main__":
    main()
