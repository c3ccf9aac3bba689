"""Files of named arrays in the safetensors format with a JSON header and a checksum. No pickle.

Transforms and cascades are stored this way (docs/reference/file-formats.md).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.errors import DataError
from nestvec.json_text import parse_json

Arrays = dict[str, np.ndarray]
Header = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file: its noun in errors, the command that makes it, and its newest format."""

    noun: str
    source: str
    """The command that makes such a file."""
    format: int
    key_noun: str = ""
    """The noun in the metadata, where it is another than in errors."""

    @property
    def key(self) -> str:
        """The entry of the safetensors metadata that holds the header."""
        return f"nestvec.{self.key_noun or self.noun}"


# Files were named before the word was: their key stays, so that every version reads them.
TRANSFORM = FileKind("transform", "nestvec adapt fit", 1, key_noun="adapter")
_WAY_OUT = "restore it from a copy, or remove it and fit again"


def check_place(path: Path) -> None:
    """Refuse a path that no file can be written to, before anything is fitted: `DataError`."""
    if path.suffix != ".safetensors":
        raise DataError(f"'{path}' does not end in .safetensors, the format written; rename it")
    if path.is_dir():
        raise DataError(f"'{path}' is a folder; name a file in it")


def write_file(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    header: Mapping[str, Any],
    kind: FileKind = TRANSFORM,
) -> None:
    """Write a file in one step: it is complete or absent. Equal contents make equal bytes.

    `header` holds JSON values; keys that are numbers become texts.
    """
    from safetensors.numpy import save

    check_place(path)
    stored = {name: _as_stored(array) for name, array in arrays.items()}
    # As a reader gets it, or the checksum would be of other keys.
    json_values = json.loads(json.dumps({"format": kind.format, **header}))
    text = json.dumps(
        {**json_values, "checksum": fingerprint_of(json_values, stored)}, sort_keys=True
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    # Not `save_file`, which makes files that nobody else may read.
    partial.write_bytes(save(stored, metadata={kind.key: text}))
    partial.replace(path)


def read_file(path: Path, kind: FileKind = TRANSFORM) -> tuple[Arrays, Header]:
    """Read arrays and header; `DataError` for a file that is missing, damaged or of another kind.

    A file from before there were checksums is read without one.
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
    if "checksum" in header and header.pop("checksum") != fingerprint_of(header, arrays):
        raise DataError(f"'{path}' is damaged: it differs from its checksum; {_WAY_OUT}")
    return arrays, header


def fingerprint_of(facts: Any, arrays: Mapping[str, np.ndarray]) -> str:
    """Hash JSON values and the names, types, shapes and bytes of arrays: SHA-256, in hex."""
    import hashlib

    total = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        total.update(f"{name} {array.dtype.str} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _as_stored(array: np.ndarray) -> np.ndarray:
    """Make an array contiguous and little-endian, as a reader gets it back."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _read_safetensors(path: Path, kind: FileKind) -> tuple[Arrays, str | None]:
    """Read arrays, and the text of the header if there is one."""
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
    """Parse a header; None for a text that is none."""
    try:
        header = parse_json(text)
    except ValueError:
        return None
    version = header.get("format") if isinstance(header, dict) else None
    return header if isinstance(version, int) and version >= 1 else None
