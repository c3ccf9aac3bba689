"""Compilation of kernels by numba, and its cache."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from inspect import unwrap
from pathlib import Path
from typing import Any, TypeVar

import numba as nb
from numba.core.event import Event, Listener, install_listener

from nestvec.kernels.cache import FORMAT, CheckedCacheFile

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
        cache = compiled._cache  # type: ignore[attr-defined]
        file = cache._cache_file
        stamp = (file._source_stamp, _fingerprint(), FORMAT)
        name = file._index_name.removesuffix(".nbi")
        cache._cache_file = CheckedCacheFile(file._cache_path, name, stamp)
    except RuntimeError:  # numba found no directory that it may write to
        compiled = nb.njit(nogil=True)(unwrapped)
    return compiled


class CompileNotice(Listener):  # type: ignore[misc]  # numba ships no types
    """A log message at the first compilation; kernels that come from the cache are not compiled."""

    was_logged = False

    def on_start(self, event: Event) -> None:
        """Log that there is something to wait for."""
        if not self.was_logged:
            _logger.warning("compiling kernels for this processor (once, about half a minute)")
        self.was_logged = True

    def on_end(self, event: Event) -> None:
        """Do nothing: the message is about the wait."""


@contextmanager
def notify_compilation() -> Iterator[CompileNotice]:
    """Log a message when something is compiled in this context."""
    notice = CompileNotice()
    with install_listener("numba:compile", notice):
        yield notice
