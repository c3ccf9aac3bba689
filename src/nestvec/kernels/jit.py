"""Compilation of kernels by numba, and its cache."""

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
    """Hash the source of all kernels."""
    texts = (path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return sha256(b"".join(texts)).hexdigest()


def kernel(function: F) -> F:
    """Compile a function so that it releases the interpreter lock, cached where a disk allows it.

    Kernels hold no parallel region: threads share out queries.
    """
    # Tests wrap every function to check its shapes; numba compiles the one inside.
    unwrapped = unwrap(function)
    try:
        compiled: F = nb.njit(nogil=True, cache=True)(unwrapped)
        # numba looks at the kernel's own file alone, but the functions it calls are part of it.
        file = compiled._cache._cache_file  # type: ignore[attr-defined]
        file._source_stamp = (file._source_stamp, _fingerprint())
    except RuntimeError:  # numba found no directory that it may write to
        compiled = nb.njit(nogil=True)(unwrapped)
    return compiled


class CompileNotice(Listener):  # type: ignore[misc]  # numba ships no types
    """A log message at the first compilation; kernels that come from the cache are not compiled."""

    def __init__(self) -> None:
        self._logged = False

    def on_start(self, event: Event) -> None:
        """Log that there is something to wait for."""
        if not self._logged:
            _logger.warning("compiling kernels for this processor (once, some twenty seconds)")
        self._logged = True

    def on_end(self, event: Event) -> None:
        """Do nothing: the message is about the wait."""


def notify_compilation() -> AbstractContextManager[None]:
    """Log a message when something is compiled in this context."""
    notice: AbstractContextManager[None] = install_listener("numba:compile", CompileNotice())
    return notice
