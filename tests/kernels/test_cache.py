"""The cache of compiled kernels: damage is noticed, dropped and repaired; no space is no error."""

import os
import subprocess
import sys

import pytest

USE = """
import logging
logging.basicConfig(level=logging.WARNING, format="%(message)s")
import numpy as np
from nestvec.kernels import load_scoring
score, rows = np.array([[1.0, 3.0, 2.0]], np.float32), np.zeros((1, 2), np.int64)
load_scoring().best_scores(score, rows, np.zeros((1, 2), np.float32))
assert rows.tolist() == [[1, 2]]
"""
NO_SPACE = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
"""


@pytest.fixture(scope="module")
def first_use(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernels")
    assert "compiling kernels" in use(folder)
    return folder


def use(folder, code=USE):
    """Run code in a new process whose kernels are cached in `folder`; return what it logged."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.door("a damaged cache of kernels", "one warning, compiled anew")
@pytest.mark.parametrize("suffix", ["nbc", "nbi"])
@pytest.mark.parametrize(
    "damage", [flipped, lambda content: content[: len(content) // 2], lambda _: b""]
)
def test_damage_is_one_warning_and_is_repaired(first_use, suffix, damage):
    assert use(first_use) == ""
    files = sorted(first_use.rglob(f"*.{suffix}"))
    assert files
    for file in files:
        file.write_bytes(damage(file.read_bytes()))
    warnings = [line for line in use(first_use).splitlines() if "is damaged" in line]
    assert len(warnings) <= 1 if damage is flipped and suffix == "nbi" else len(warnings) == 1
    assert use(first_use) == ""


def test_one_wait_is_all_there_is(first_use):
    everything = "from nestvec.kernels import load, load_exact; load(); load_exact()"
    assert use(first_use, everything) == ""
    assert use(first_use, "from nestvec.cli import main; main(['warmup'])") == ""


def test_without_space_kernels_run_uncached(tmp_path):
    logged = use(tmp_path, NO_SPACE + USE)
    assert logged.count("kernels cannot be cached") == 1
    assert "NUMBA_CACHE_DIR" in logged
