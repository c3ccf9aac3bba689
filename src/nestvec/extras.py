"""Imports of optional packages, with an error that names the extra to install."""

import importlib
from types import ModuleType

from nestvec.errors import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import the optional `module`; `MissingExtraError` names the extra that installs it.

    The error of a package that is installed but broken is not replaced, because installing it again
    would not help.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as e:
        if e.name != module.partition(".")[0] and e.name != module:
            raise
        raise MissingExtraError(
            f"{module!r} is not installed; pip install 'nestvec[{extra}]'"
        ) from None
