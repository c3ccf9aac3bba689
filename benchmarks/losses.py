"""One step of the nested contrastive loss, beside Sentence Transformers': time and memory.

    python -m benchmarks.losses [--batch 256 1024] [--rounds 3] [--threads 1]
    python -m benchmarks.losses --memory

Same inputs for all, vectors [batch, 768] for queries and documents; a step is the loss and its
gradient by both. Rounds are interleaved, medians are told, with processor seconds beside the
clock's. Peak memory is that of one step beyond its inputs, each in a process of its own, and does
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
CUTS = {
    "1 cut": [768],
    "5 cuts": [768, 512, 256, 128, 64],
    "48 cuts": list(range(16, 769, 16)),
}
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

    model = _Given()
    plain = (
        CachedMultipleNegativesRankingLoss(model) if cached else MultipleNegativesRankingLoss(model)
    )
    loss_of = MatryoshkaLoss(model, plain, dims)

    def step(queries: Tensor, documents: Tensor) -> tuple[Tensor, ...]:
        queries.grad = documents.grad = None
        loss = loss_of([{"vectors": queries}, {"vectors": documents}], None)
        loss.backward()  # the cached form gives its gradients in no other way
        return loss.detach(), queries.grad, documents.grad

    return step


class _Given(nn.Sequential):
    """A model whose embeddings are its input: only the loss is measured."""

    def __init__(self) -> None:
        super().__init__(nn.Identity())  # the cached form looks at a model's first module

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
        name, cuts, batch = options.memory_of
        print(json.dumps(memory_of(CONTESTANTS[name](CUTS[cuts]), int(batch))))
    elif options.memory:
        add_memory(options.large)
    else:
        write({
            "machine": machine(()),
            "packages": {name: version(name) for name in ("torch", "sentence-transformers")},
            "threads": options.threads, "dim": DIM, "rounds": options.rounds,
            "cases": [
                case(batch, cuts, options.rounds) for batch in options.batch for cuts in CUTS
            ],
        })  # fmt: skip


def add_memory(large: int) -> None:
    """To the result file, figure by figure."""
    told = json.loads(RESULT.read_text())
    for of_case in told["cases"]:
        for name, of in of_case["contestants"].items():
            of |= measured_apart(name, of_case["cuts"], of_case["batch"], told["threads"])
            write(told)
    of_large = measured_apart("nestvec", "5 cuts", large, told["threads"])
    told["large"] = {"batch": large, "cuts": "5 cuts", **of_large}
    write(told)


def write(told: dict[str, Any]) -> None:
    RESULT.write_text(json.dumps(told, indent=1) + "\n")


def case(batch: int, cuts: str, rounds: int) -> dict[str, Any]:
    """All contestants on one batch and list of cuts."""
    steps = {name: make(CUTS[cuts]) for name, make in CONTESTANTS.items()}
    wall, cpu = ({name: [] for name in steps} for _ in range(2))
    inputs = vectors(batch)
    values = {name: step(*inputs) for name, step in steps.items()}
    for _ in range(rounds):
        for name, step in steps.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            step(*inputs)
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - start_cpu)
    told = {
        name: {
            "seconds": round(statistics.median(wall[name]), 5),
            "cpu_seconds": round(statistics.median(cpu[name]), 5),
            "difference": difference(values[name], values["nestvec, reference"]),
        }
        for name in steps
    }
    print(batch, cuts, json.dumps(told), flush=True)
    return {"batch": batch, "cuts": cuts, "contestants": told}


def vectors(batch: int) -> tuple[Tensor, Tensor]:
    """Unit queries, and documents some way off each: random, as no step's time depends on them."""
    generator = torch.Generator().manual_seed(0)
    queries = normalize(torch.randn(batch, DIM, generator=generator))
    documents = normalize(queries + 0.15 * torch.randn(batch, DIM, generator=generator))
    return queries.requires_grad_(), documents.requires_grad_()


def difference(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    """The largest of value and gradients, as a share of the largest entry."""
    pairs = zip(found, expected, strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def measured_apart(name: str, cuts: str, batch: int, threads: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.losses", "--threads", str(threads)]
    command += ["--memory-of", name, cuts, str(batch)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def memory_of(step: Step, batch: int) -> dict[str, float]:
    """MB that a step takes beyond what is there before it, its gradients included."""
    step(*vectors(64))  # libraries set up their own buffers
    inputs = vectors(batch)
    before = status_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    step(*inputs)
    return {"peak_mb": round(status_mb("VmHWM") - before, 1)}


if __name__ == "__main__":
    main()
