"""An index larger than memory: the system refuses a process more, and it searches all the same."""

import os
import subprocess
import sys

import numpy as np
import pytest

from nestvec import Index

SEARCH = """
import resource, sys
import numpy as np
from nestvec import Index
from nestvec.kernels import load, load_exact

path, allowance = sys.argv[1], int(sys.argv[2])
load()
load_exact()
used = int(open("/proc/self/status").read().split("VmData:")[1].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + allowance,) * 2)
index = Index.open(path)
queries = np.array(index.vectors[:30])
for plan in (None, "probe=all; full", "probe=all; 64x1:100 > full"):
    hits = index.search(queries, 5, plan=plan, threads=1)
    assert (hits.rows[:, 0] == np.arange(30)).all(), plan
for options in ({"exact": True}, {"certify": True}, {"where": "id < 15000"}):
    hits = index.search(queries, 5, threads=1, **options)
    assert (hits.rows[:, 0] == np.arange(30)).all(), options
try:
    np.array(index.vectors)
except MemoryError:
    print("searched, and the vectors do not fit")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce RLIMIT_DATA")
def test_an_index_is_opened_and_searched_in_less_memory_than_its_vectors_take(tmp_path, rng):
    # RLIMIT_DATA counts heap, stacks and what else a process may write to for itself alone. (By
    # its nature RLIMIT_AS, `ulimit -v`, counts the addresses of every map.)
    vectors = rng.standard_normal((20_000, 1024)).astype(np.float32)
    Index.build(vectors, tmp_path / "i.nv")
    allowance = vectors.nbytes // 4
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, str(tmp_path / "i.nv"), str(allowance)],
        capture_output=True, text=True, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.stdout == "searched, and the vectors do not fit\n", done.stderr
