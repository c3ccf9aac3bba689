"""Files of named arrays in the safetensors format with a JSON header and a checksum. No pickle.

Adapters, checkpoints of their training and cascades are stored this way (docs/FORMAT.md).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.errors import DataError

Arrays = dict[str, np.ndarray]
Header = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file: its newest format, and how errors name it."""

    noun: str
    source: str
    """The command that makes such a file."""
    format: int

    @property
    def key(self) -> str:
        """The entry of the safetensors metadata that holds the header."""
        return f"nestvec.{self.noun}"


ADAPTER = FileKind("adapter", "nestvec adapt fit", 1)
_WAY_OUT = "restore it from a copy, or remove it and fit again"


def check_place(path: Path) -> None:
    """`DataError` where no file can be written, said before anything is fitted."""
    if path.suffix != ".safetensors":
        raise DataError(f"'{path}' does not end in .safetensors, the format written; rename it")
    if path.is_dir():
        raise DataError(f"'{path}' is a folder; name a file in it")


def write_file(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    header: Mapping[str, Any],
    kind: FileKind = ADAPTER,
) -> None:
    """Write a file in one step: it is there whole or not at all. Equal contents, equal bytes.

    `header` holds JSON values; keys that are numbers become texts.
    """
    from safetensors.numpy import save

    check_place(path)
    stored = {name: _as_stored(array) for name, array in arrays.items()}
    # As a reader will find it, or the checksum would be of other keys.
    plain = json.loads(json.dumps({"format": kind.format, **header}))
    text = json.dumps({**plain, "checksum": digest(plain, stored)}, sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    # Not `save_file`, which makes files that nobody else may read.
    partial.write_bytes(save(stored, metadata={kind.key: text}))
    partial.replace(path)


def read_file(path: Path, kind: FileKind = ADAPTER) -> tuple[Arrays, Header]:
    """Arrays and header; `DataError` for a file that is missing, damaged or of another kind.

    A file that was written before there were checksums is read without one.
    """
    arrays, text = _read_safetensors(path, kind)
    if text is None:
        raise DataError(f"'{path}' is no {kind.noun}; {kind.source} makes one")
    header = _parse_header(text)
    if header is None:
        raise DataError(f"'{path}' is damaged: its header cannot be read; {_WAY_OUT}")
    if header["format"] > kind.format:
        raise DataError(
            f"'{path}' has {kind.noun} format {header['format']} and this nestvec reads up to "
            f"{kind.format}; upgrade nestvec"
        )
    if "checksum" in header and header.pop("checksum") != digest(header, arrays):
        raise DataError(f"'{path}' is damaged: it differs from its checksum; {_WAY_OUT}")
    return arrays, header


def digest(facts: Any, arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256, in hex, of JSON values and of the names, types, shapes and bytes of arrays."""
    import hashlib

    total = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        total.update(f"{name} {array.dtype.str} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _as_stored(array: np.ndarray) -> np.ndarray:
    """The array as a reader gets it back: contiguous and little-endian."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _read_safetensors(path: Path, kind: FileKind) -> tuple[Arrays, str | None]:
    """Arrays, and the text of the header if there is one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(kind.key)
            return {name: file.get_tensor(name) for name in file.keys()}, text  # noqa: SIM118
    except FileNotFoundError:
        raise DataError(f"there is no file '{path}'; check the path") from None
    except (OSError, SafetensorError, KeyError) as e:
        raise DataError(
            f"'{path}' is damaged or no {kind.noun}: it cannot be read ({e}); {_WAY_OUT}"
        ) from e


def _parse_header(text: str) -> Header | None:
    """The header, if it is one."""
    try:
        header = json.loads(text)
    except ValueError:
        return None
    version = header.get("format") if isinstance(header, dict) else None
    return header if isinstance(version, int) and version >= 1 else None
