"""The Triton kernels: in the interpreter without a GPU, on it where there is one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nestvec.errors import InputError, MissingExtraError
from nestvec.losses import nested_info_nce

SCRIPT = Path(__file__).with_name("triton_in_the_interpreter.py")


def test_in_the_interpreter_it_equals_the_reference():
    pytest.importorskip("triton")
    # Read when the kernels are imported, hence a process of its own.
    process = subprocess.run(
        [sys.executable, str(SCRIPT)],
        capture_output=True, text=True, check=True, env={**os.environ, "TRITON_INTERPRET": "1"},
    )  # fmt: skip
    differences = json.loads(process.stdout.splitlines()[-1])
    assert len(differences) == 4
    assert max(differences.values()) < 1e-4


def test_on_a_gpu_it_equals_the_reference():
    pytest.importorskip("triton")
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    queries, documents = leaves = [
        torch.randn(300, 128, device="cuda", requires_grad=True) for _ in range(2)
    ]
    results = []
    for method in ("reference", "triton"):
        loss = nested_info_nce(queries, documents, [128, 24, 64], method=method)
        results.append([loss.detach(), *torch.autograd.grad(loss, leaves)])
    for expected, got in zip(*results, strict=True):
        assert (got - expected).abs().max() < 1e-3 * expected.abs().max()


def test_options_that_it_does_not_have_are_refused():
    try:
        import triton  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(MissingExtraError, match="triton"):
            nested_info_nce(torch.randn(4, 16), torch.randn(4, 16), [16], method="triton")
        return
    with pytest.raises(InputError, match="method='blocks'"):
        nested_info_nce(torch.randn(4, 16), torch.randn(4, 16), [16], margin=0.1, method="triton")
