"""The inner loops, twice: `reference` defines them in NumPy, `compiled` runs them fast."""

import logging
from functools import cache
from importlib import import_module
from threading import Timer
from types import ModuleType

_logger = logging.getLogger(__name__)

_ANNOUNCE_AFTER_S = 2.0


@cache
def load() -> ModuleType:
    """The compiled kernels, those that build and search ready to run.

    The first time on a machine they are compiled and cached. That takes some ten seconds, and is
    announced by a log message once it takes over two. numba is imported here and not earlier, so
    that `import nestvec` stays fast.
    """
    return _warm("warm_up")


@cache
def load_exact() -> ModuleType:
    """The same, the exact search ready to run."""
    return _warm("warm_up_exact")


def _warm(warm_up: str) -> ModuleType:
    announce = Timer(
        _ANNOUNCE_AFTER_S,
        _logger.warning,
        ["compiling kernels for this processor (once, about ten seconds)"],
    )
    announce.daemon = True
    announce.start()
    try:
        compiled = import_module("nestvec.kernels.compiled")
        getattr(compiled, warm_up)()
        return compiled
    finally:
        announce.cancel()
