"""The file of an adapter: named arrays in the safetensors format, and a JSON header. No pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.errors import DataError

FORMAT = 1
_KEY = "nestvec.adapter"


def check_place(path: Path) -> None:
    """`DataError` where no adapter can be written, said before anything is fitted."""
    if path.suffix != ".safetensors":
        raise DataError(f"'{path}' does not end in .safetensors, the format written; rename it")
    if path.is_dir():
        raise DataError(f"'{path}' is a folder; name a file in it")


def write_file(path: Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write an adapter's file."""
    text = json.dumps({"format": FORMAT, **header}, sort_keys=True, allow_nan=False)
    put_file(path, arrays, {_KEY: text})


def put_file(path: Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write a `.safetensors` file in one step: it is there whole or not at all."""
    from safetensors.numpy import save

    check_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    # Not `save_file`, which makes files that nobody else may read.
    partial.write_bytes(save(whole, metadata=metadata))
    partial.replace(path)


def read_file(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and header; `DataError` for a file that is missing, damaged or no adapter's."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_KEY)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise DataError(f"there is no file '{path}'; check the path") from None
    except (OSError, SafetensorError, KeyError) as e:
        raise DataError(f"'{path}' cannot be read as an adapter ({e}); save it again") from e
    if text is None:
        raise DataError(f"'{path}' is no adapter; nestvec adapt fit makes one")
    header = _read_header(text)
    if header is None:
        raise DataError(f"'{path}' is damaged: its header cannot be read; fit and save it again")
    if header["format"] > FORMAT:
        raise DataError(
            f"'{path}' has adapter format {header['format']} and this nestvec reads up to "
            f"{FORMAT}; upgrade nestvec"
        )
    return arrays, header


def _read_header(text: str) -> dict[str, Any] | None:
    """The header, if it is one."""
    try:
        header = json.loads(text)
    except ValueError:
        return None
    is_one = isinstance(header, dict) and isinstance(header.get("format"), int)
    return header if is_one else None
