"""How kernels are compiled."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from hashlib import sha256
from inspect import unwrap
from pathlib import Path
from typing import Any, TypeVar

import numba as nb
from numba.core.event import Event, Listener, install_listener

_logger = logging.getLogger("nestvec.kernels")

F = TypeVar("F", bound=Callable[..., Any])


@cache
def _fingerprint() -> str:
    """Of all that kernels are made of."""
    texts = (path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return sha256(b"".join(texts)).hexdigest()


def kernel(function: F) -> F:
    """`numba.njit` that releases the interpreter lock, cached on disk where that can be written.

    Kernels hold no parallel region: threads share out queries.
    """
    # Tests wrap every function to check its shapes; what numba compiles is the one inside.
    inside = unwrap(function)
    try:
        compiled: F = nb.njit(nogil=True, cache=True)(inside)
        # numba looks at the kernel's own file alone, but what it calls is compiled into it.
        file = compiled._cache._cache_file  # type: ignore[attr-defined]
        file._source_stamp = (file._source_stamp, _fingerprint())
    except RuntimeError:  # numba found no directory that it may write to
        compiled = nb.njit(nogil=True)(inside)
    return compiled


class _Announcer(Listener):  # type: ignore[misc]  # numba ships no types
    """Says once that there is something to wait for; what comes from the cache is not compiled."""

    def __init__(self) -> None:
        self._said = False

    def on_start(self, event: Event) -> None:
        if not self._said:
            _logger.warning("compiling kernels for this processor (once, some twenty seconds)")
        self._said = True

    def on_end(self, event: Event) -> None:
        """Nothing to say."""


def announced() -> AbstractContextManager[None]:
    """Within it, a log message tells when something is compiled."""
    announcement: AbstractContextManager[None] = install_listener("numba:compile", _Announcer())
    return announcement
