"""`import nestvec`: what it offers, and what it costs."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

import nestvec

HEAVY = (
    "beartype", "httpx", "jaxtyping", "llvmlite", "matplotlib", "numba", "pyarrow", "rich",
    "safetensors", "scipy", "sentence_transformers", "torch", "typer",
)  # fmt: skip


def python(*arguments, **environment):
    """What a fresh interpreter writes; it must end well."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_all_names_what_can_be_imported():
    names = {name for name in vars(nestvec) if not name.startswith("_")}
    modules = {name for name in names if type(vars(nestvec)[name]) is type(sys)}
    assert sorted(nestvec.__all__) == nestvec.__all__ == sorted(names - modules)
    offered = {}
    exec("from nestvec import *", offered)
    assert offered.keys() - {"__builtins__"} == set(nestvec.__all__)


def test_every_public_name_says_what_it_is():
    assert all(vars(nestvec)[name].__doc__ for name in nestvec.__all__)


def test_dir_lists_every_public_name_and_each_can_be_had():
    pytest.importorskip("torch")
    names = {name for name in dir(nestvec) if not name.startswith("_")}
    assert names == {*nestvec.__all__, *nestvec._LAZY}
    assert all(getattr(nestvec, name).__doc__ for name in names)


def test_the_version_is_that_of_the_package():
    assert nestvec.__version__ == version("nestvec")


def test_importing_loads_nothing_heavy():
    loaded = python("-c", "import nestvec, sys; print(*sys.modules)").stdout.split()
    assert "nestvec.index.index" in loaded
    assert not {module.partition(".")[0] for module in loaded} & set(HEAVY)


def test_cascades_are_there_and_load_scipy_when_asked_for():
    script = "import nestvec as nv, sys; print('scipy' in sys.modules, nv.Cascade.__name__)"
    assert python("-c", script).stdout.split() == ["False", "Cascade"]


def test_losses_and_heads_are_there_and_load_torch_when_asked_for():
    pytest.importorskip("torch")
    script = "import nestvec as nv, sys; print('torch' in sys.modules, nv.{}.__doc__[:6])"
    for name, says in {"losses": "Losses", "NestedHead": "Logits"}.items():
        told = python("-c", script.format(name)).stdout.split()
        assert told == ["False", says]
    with pytest.raises(AttributeError, match="no attribute 'loses'"):
        nestvec.loses  # noqa: B018


def test_importing_takes_less_than_60_ms_of_the_processor_more_than_numpy():
    def cost_ms(module):
        script = f"import time; start = time.process_time(); import {module}; "
        return 1000 * float(python("-c", script + "print(time.process_time() - start)").stdout)

    python("-c", "import nestvec", PYTHONDONTWRITEBYTECODE="")  # its bytecode is cached
    # One quiet moment is enough: a busy machine only ever adds.
    assert any(cost_ms("nestvec") - cost_ms("numpy") < 60 for _ in range(20))


@pytest.mark.parametrize("kind", ["under a file", "read-only"])
def test_kernels_run_where_no_cache_can_be_written(kind, tmp_path):
    if kind == "under a file":
        (tmp_path / "file").touch()
        cache = tmp_path / "file" / "cache"
    else:
        if os.geteuid() == 0:
            pytest.skip("root may write anywhere")
        cache = tmp_path / "cache"
        cache.mkdir(mode=0o500)
    # One kernel: compiling them all without a cache takes a quarter of a minute.
    script = (
        "import numpy as np\n"
        "from nestvec.kernels import compiled\n"
        "codes, zeros = np.ones((1, 3), np.uint8), np.zeros(1, np.int64)\n"
        "print(compiled.pack_words(codes, zeros, zeros).item())\n"
    )
    assert python("-c", script, NUMBA_CACHE_DIR=str(cache)).stdout == "7\n"
