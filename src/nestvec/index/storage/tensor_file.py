"""Files of named arrays in the safetensors format, written as a stream and read by memory map.

The `safetensors` package reads and writes whole tensors in memory; an index must not. The format is
simple: 8 bytes with the length of a JSON header, the header with dtype, shape and byte range of
each array by name, then the arrays (github.com/huggingface/safetensors). Tests compare this module
with the package.
"""

import json
import math
import mmap
import os
import zlib
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from nestvec.errors import DamagedIndexError, StorageError
from nestvec.json_text import parse_json

CHUNK_BYTES = 1 << 20
_DTYPES = {
    "F32": "<f4",
    "I32": "<i4",
    "I64": "<i8",
    "U64": "<u8",
    "U16": "<u2",
    "U8": "|u1",
    "I8": "|i1",
}
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}

Layout = Mapping[str, tuple[np.dtype, tuple[int, ...]]]
"""Name → dtype and shape of each array in a file, in the order in which they lie."""


class TensorWriter:
    """Writer of a file with a fixed layout, whose arrays are filled through memory maps."""

    def __init__(self, path: Path, layout: Layout) -> None:
        header: dict[str, dict[str, Any]] = {}
        end = 0
        for name, (dtype, shape) in layout.items():
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            header[name] = {
                "dtype": _NAMES[dtype],
                "shape": list(shape),
                "data_offsets": [end, end + size],
            }
            end += size
        text = json.dumps(header).encode()
        text += b" " * (-(8 + len(text)) % 64)  # arrays start on a cache line
        with path.open("xb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            _reserve(file, 8 + len(text) + end)
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), 0)
        self.arrays = {
            name: _array(self._map, name, header[name], 8 + len(text)) for name in header
        }

    def __enter__(self) -> "TensorWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.arrays.clear()
        self._map.flush()
        with suppress(BufferError):  # someone still holds an array; the map closes with it
            self._map.close()
        self._file.close()


def _reserve(file: BufferedWriter, size: int) -> None:
    """Allocate the whole file on disk, because a map into a full disk would kill the process."""
    if hasattr(os, "posix_fallocate"):
        file.flush()
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


def write_tensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays that are in memory already."""
    with TensorWriter(path, {name: (a.dtype, a.shape) for name, a in arrays.items()}) as writer:
        for name, array in arrays.items():
            writer.arrays[name][...] = array


def map_tensors(path: Path) -> dict[str, np.ndarray]:
    """Map the arrays of a file without reading them; `DamagedIndexError` if it is not whole.

    Arrays are read-only, and so is the map: writable ones, private too, would count in full against
    limits of memory (RLIMIT_DATA).
    """
    try:
        with path.open("rb") as file:
            if path.stat().st_size < 8:
                raise ValueError("it has less than 8 bytes")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            header, start = _header(mapped)
            return {name: _array(mapped, name, header[name], start) for name in header}
    except FileNotFoundError:
        raise DamagedIndexError(
            f"{path} is missing, although the index lists it; restore it or build the index again"
        ) from None
    except OSError as e:
        raise StorageError(f"{path} cannot be read ({e.strerror}); check its permissions") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as e:
        raise DamagedIndexError(
            f"{path} is damaged ({e}); restore it or build the index again"
        ) from None


def checksums(path: Path) -> bytes:
    """Compute the CRC-32 of each MiB of a file, four bytes each, so that parts can be checked."""
    with path.open("rb") as file:
        chunks = iter(lambda: file.read(CHUNK_BYTES), b"")
        return b"".join(zlib.crc32(chunk).to_bytes(4, "little") for chunk in chunks)


def chunks_without(path: Path, bulk: Container[str]) -> list[int]:
    """List the MiB of a file that hold its header and all arrays but `bulk`, in order."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        header, start = _header(mapped)
    spans = [(-start, 0), *(_span(entry) for name, entry in header.items() if name not in bulk)]
    places = ((start + first, start + last) for first, last in spans if first < last)
    return sorted(
        {i for first, last in places for i in range(first // CHUNK_BYTES, -(-last // CHUNK_BYTES))}
    )


def damaged_chunk(path: Path, sums: bytes, chunks: Iterable[int]) -> int | None:
    """Find the first MiB of `chunks` that differs from its checksum; None if all agree."""
    with path.open("rb") as file:
        for chunk in chunks:
            file.seek(CHUNK_BYTES * chunk)
            checksum = zlib.crc32(file.read(CHUNK_BYTES)).to_bytes(4, "little")
            if checksum != sums[4 * chunk : 4 * chunk + 4]:
                return chunk
    return None


def _header(mapped: mmap.mmap) -> tuple[dict[str, Any], int]:
    """Read the entry of each array by name, and the byte from which offsets count."""
    start = 8 + int.from_bytes(mapped[:8], "little")
    if start > len(mapped):
        raise ValueError(f"its header of {start - 8} bytes is longer than the file")
    header = parse_json(mapped[8:start])
    header.pop("__metadata__", None)
    if max((_span(entry)[1] for entry in header.values()), default=0) != len(mapped) - start:
        raise ValueError("its arrays do not end where the file ends")
    return header, start


def _span(entry: Mapping[str, Any]) -> tuple[int, int]:
    first, last = (int(offset) for offset in entry["data_offsets"])
    return first, last


def _array(mapped: mmap.mmap, name: str, entry: Mapping[str, Any], start: int) -> np.ndarray:
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    shape = tuple(int(length) for length in entry["shape"])
    first, last = _span(entry)
    count = math.prod(shape)
    if min(shape, default=0) < 0 or last - first != count * dtype.itemsize:
        raise ValueError(f"array {name!r} has another size than its shape")
    if not 0 <= first <= last <= len(mapped) - start:
        raise ValueError(f"array {name!r} does not fit into the file")
    return np.frombuffer(mapped, dtype, count, start + first).reshape(shape)
