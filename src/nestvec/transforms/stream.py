"""Writing rows to a file block by block, so that a corpus need not fit into memory."""

import json
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np

from nestvec.errors import DataError
from nestvec.inputs.formats import TRANSFORM_LABEL
from nestvec.progress import Progress
from nestvec.shapes import Float32


def write_rows(
    path: Path,
    blocks: Iterable[Float32[np.ndarray, "m dims"]],
    shape: tuple[int, int],
    label: Mapping[str, str],
    progress: Progress,
) -> None:
    """Write blocks of rows as float32 [n, dims]; only a complete file gets the name.

    `label` goes into the metadata of a `.safetensors`. `DataError` if the file exists.
    """
    if path.suffix not in (".npy", ".safetensors"):
        raise DataError(
            f"'{path}' ends in neither .npy nor .safetensors, the formats written; rename it"
        )
    if path.exists():
        raise DataError(f"'{path}' exists already; remove it or choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    head = _npy_header(shape) if path.suffix == ".npy" else _safetensors_header(shape, label)
    try:
        with progress("Adapting", shape[0]) as advance, partial.open("wb") as file:
            file.write(head)
            for block in blocks:
                file.write(np.ascontiguousarray(block, dtype="<f4").data)
                advance(len(block))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)  # an unfinished file is of no use


def _npy_header(shape: tuple[int, int]) -> bytes:
    buffer = BytesIO()
    layout = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, layout)
    return buffer.getvalue()


def _safetensors_header(shape: tuple[int, int], label: Mapping[str, str]) -> bytes:
    size = 4 * shape[0] * shape[1]
    header = {
        "__metadata__": {TRANSFORM_LABEL: json.dumps(label)},
        "vectors": {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
