"""Compare the Triton kernels with the reference where there is no GPU; run by test_triton.py."""

import json
import sys

import torch

from nestvec.losses import nested_info_nce

CASES = {
    "dims of all kinds": {"dims": [40, 3, 16, 33], "temperature": 0.1},
    "weights and labels": {"dims": [40, 8], "weights": [1.0, 3.0], "labels": torch.arange(70) % 9},
    "inner products": {"dims": [40, 16], "cosine": False, "temperature": 4.0},
    "cold": {"dims": [40, 16], "temperature": 0.01},
}


def main():
    differences = {}
    for name, options in CASES.items():
        torch.manual_seed(0)
        queries, documents, negatives = leaves = [
            torch.randn(rows, 44, requires_grad=True) for rows in (70, 70, 11)
        ]
        temperature = torch.tensor(options.get("temperature", 0.05), requires_grad=True)
        results = []
        for method in ("reference", "triton"):
            arguments = {**options, "temperature": temperature, "method": method}
            loss = nested_info_nce(queries, documents, negatives=negatives, **arguments)
            results.append([loss.detach(), *torch.autograd.grad(loss, [*leaves, temperature])])
        differences[name] = max(
            float((a - b).abs().max() / b.abs().max()) for b, a in zip(*results, strict=True)
        )
    sys.stdout.write(json.dumps(differences) + "\n")


if __name__ == "__main__":
    main()
