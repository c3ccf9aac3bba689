"""Options of another type or beyond their range are refused by name, wherever they are passed."""

import subprocess
import sys

import numpy as np
import pytest

import nestvec as nv
from nestvec.adapt import Linear
from nestvec.errors import InputError
from nestvec.keywords import check_seed

VECTORS = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return nv.Index.build(VECTORS, tmp_path_factory.mktemp("options") / "i.nv")


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1", None])
def test_a_seed_is_a_whole_number_from_0_on(seed):
    with pytest.raises(InputError, match="seed="):
        check_seed(seed)
    assert check_seed(np.int64(3)) == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda index: nv.tune(index, VECTORS[:40], seed=-1),
        lambda index: nv.check_drift(index, VECTORS[:40], seed=-1),
        lambda index: nv.audit(VECTORS, VECTORS[:40], seed=-1),
        lambda index: nv.Cascade.fit(VECTORS, [0, 1] * 100, seed=-1),
        lambda index: Linear.fit_neighbour_whitening(VECTORS, seed=-1),
        lambda index: nv.Index.build(VECTORS, index.path / "new", seed=-1),
    ],
)
def test_seeds_are_checked_alike(index, call):
    with pytest.raises(InputError, match="seed=-1 is not a whole number of at least 0"):
        call(index)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("k=0", lambda index: index.default_plan(0)),
        ("k=-3", lambda index: index.default_plan(-3)),
        ("k=0", lambda index: index.save_plan(0, nv.Plan.parse("probe=all; full"), {}, 0)),
        ("plans", lambda index: nv.tune(index, VECTORS[:40], plans="probe=all; full")),
    ],
)
def test_the_error_names_the_option(index, name, call):
    with pytest.raises(InputError, match=name):
        call(index)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("index.search(queries, threads=1.5)", "threads=1.5"),
        ("index.search(queries, threads='2')", "threads='2'"),
        ("index.iter_vectors(2.5)", "block_rows=2.5"),
        ("index.iter_vectors('2')", "block_rows='2'"),
        ("nv.tune(index, queries, k=2.5)", "k=2.5"),
        ("nv.tune(index, queries, confidence='high')", "confidence='high'"),
        ("nv.tune(index, queries, seed=1.5)", "seed=1.5"),
        ("nv.Cascade.fit(queries, [0, 1], seed=1.5)", "seed=1.5"),
    ],
)
def test_other_types_are_input_errors_where_no_hook_checks_them(index, call, name):
    program = (
        "import sys, numpy as np, nestvec as nv\n"
        "index, queries = nv.Index.open(sys.argv[1]), np.ones((2, 16), np.float32)\n"
        f"{call}"
    )
    command = [sys.executable, "-c", program, str(index.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"InputError: {name} is not a" in done.stderr
