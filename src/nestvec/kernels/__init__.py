"""The inner loops, twice: `reference` defines them in NumPy, `compiled` runs them fast."""

from functools import cache
from importlib import import_module
from types import ModuleType


@cache
def load() -> ModuleType:
    """The compiled kernels, those that build and search ready to run.

    The first time on a machine they are compiled, which takes some twenty seconds and is announced
    by a log message, and cached. numba is imported here and not earlier, so that `import nestvec`
    stays fast.
    """
    return _warm("warm_up")


@cache
def load_exact() -> ModuleType:
    """The same, the exact search ready to run."""
    return _warm("warm_up_exact")


@cache
def load_scores() -> ModuleType:
    """The same, what an audit does with all scores ready to run."""
    return _warm("warm_up_scores")


def _warm(warm_up: str) -> ModuleType:
    compiled = import_module("nestvec.kernels.compiled")
    with import_module("nestvec.kernels.jit").announced():
        getattr(compiled, warm_up)()
    return compiled
