"""How kernels are compiled."""

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from inspect import unwrap
from pathlib import Path
from typing import Any, TypeVar

import numba as nb

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
