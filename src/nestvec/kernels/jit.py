"""How kernels are compiled."""

from collections.abc import Callable
from inspect import unwrap
from typing import Any, TypeVar

import numba as nb

F = TypeVar("F", bound=Callable[..., Any])


def kernel(**options: Any) -> Callable[[F], F]:
    """`numba.njit` that releases the interpreter lock, cached on disk where that can be written.

    Kernels hold no parallel region: threads share out queries.
    """

    def decorate(function: F) -> F:
        # Tests wrap every function to check its shapes; what numba compiles is the one inside.
        inside = unwrap(function)
        try:
            compiled: F = nb.njit(nogil=True, cache=True, **options)(inside)
        except RuntimeError:  # numba found no directory that it may write to
            compiled = nb.njit(nogil=True, **options)(inside)
        return compiled

    return decorate
