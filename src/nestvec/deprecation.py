"""Old names that still work: arguments, attributes and keys, with a note that names the new one."""

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
_RENAMED = "__renamed_fields__"


def warn_renamed(old: str, new: str, stacklevel: int = 3) -> None:
    """Emit the `DeprecationWarning` that tells the caller to write `new` instead of `old`."""
    warnings.warn(f"{old} is now called {new}; please use {new}", DeprecationWarning, stacklevel)


def renamed_arguments(names: Mapping[str, str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Accept keyword arguments by their old names (`{old: new}`), with a `DeprecationWarning`.

    `TypeError` when a call passes an argument by both names.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for old in kwargs.keys() & names.keys():
                new = names[old]
                if new in kwargs:
                    raise TypeError(
                        f"{function.__qualname__}() got both {old}= and {new}=, "
                        f"which are one argument; pass {new}= alone"
                    )
                warn_renamed(f"{old}=", f"{new}=")
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


def renamed_attributes(module: str, names: Mapping[str, tuple[str, Any]]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a module that answers old names (`{old: (new, object)}`)."""

    def look_up(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        new, value = names[name]
        warn_renamed(f"{module}.{name}", f"{module}.{new}")
        return value

    return look_up


def renamed_keys(table: Mapping[str, Any], names: Mapping[str, str], where: str) -> dict[str, Any]:
    """Copy a table with old keys (`{old: new}`) renamed; `where` says in the note what was read.

    The new key wins where a table holds both.
    """
    renamed = {key: value for key, value in table.items() if key not in names}
    for old in table.keys() & names.keys():
        warn_renamed(f"{old!r} in {where}", repr(names[old]))
        renamed.setdefault(names[old], table[old])
    return renamed


def renamed_fields(names: Mapping[str, str]) -> Callable[[type[T]], type[T]]:
    """Accept the old names of a dataclass's fields (`{old: new}`), as arguments and as attributes.

    Files may hold the old names too: `field_names_before` says what to rename in them.
    """

    def decorate(cls: type[T]) -> type[T]:
        cls.__init__ = renamed_arguments(names)(cls.__init__)  # type: ignore[method-assign]
        for old, new in names.items():
            setattr(cls, old, property(_old_field(cls.__name__, old, new)))
        setattr(cls, _RENAMED, dict(names))
        return cls

    return decorate


def field_names_before(cls: type[Any]) -> dict[str, str]:
    """Give the old names of a dataclass's fields (`{old: new}`), and none for any other class."""
    names: dict[str, str] = getattr(cls, _RENAMED, {})
    return names


def _old_field(cls: str, old: str, new: str) -> Callable[[Any], Any]:
    def read(instance: Any) -> Any:
        warn_renamed(f"{cls}.{old}", f"{cls}.{new}")
        return getattr(instance, new)

    return read
