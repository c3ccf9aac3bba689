"""Inner loops of build, search and audit: `reference` defines them in NumPy, `compiled` runs them.

`backend` says which functions an implementation has.
"""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from nestvec.kernels.backend import Backend


@cache
def load() -> "Backend":
    """Load the compiled backend with the kernels of build and search ready to run.

    The first time on a machine all kernels are compiled at once, those of exact search and of
    audits too. It takes about half a minute, is announced by a log message, and is cached. numba is
    imported here and not earlier, so that `import nestvec` stays fast.
    """
    return _load_compiled("warm_up")


@cache
def load_exact() -> "Backend":
    """Load the compiled backend with the kernels of exact search ready to run."""
    return _load_compiled("warm_up_exact")


@cache
def load_scoring() -> "Backend":
    """Load the compiled backend with the kernels that read all scores of an audit ready to run."""
    return _load_compiled("warm_up_scoring")


_WARM_UPS = ("warm_up", "warm_up_exact", "warm_up_scoring")


def _load_compiled(warm_up: str) -> "Backend":
    compiled = import_module("nestvec.kernels.compiled")
    with import_module("nestvec.kernels.jit").notify_compilation() as notice:
        getattr(compiled, warm_up)()
        if notice.was_logged:  # the cache is cold: no other command need wait again
            for name in _WARM_UPS:
                getattr(compiled, name)()
    return cast("Backend", compiled)
