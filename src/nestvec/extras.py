"""The one door to optional packages."""

import importlib
from types import ModuleType

from nestvec.errors import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import the optional `module`, or say which extra installs it.

    A package that is installed but broken inside raises its own error: hiding that would send the
    user to reinstall what is already there.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as e:
        if e.name != module.partition(".")[0] and e.name != module:
            raise
        raise MissingExtraError(
            f"{module!r} is not installed; pip install 'nestvec[{extra}]'"
        ) from None
