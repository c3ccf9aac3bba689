"""Files of named arrays in the safetensors format, written as a stream and read by memory map.

The `safetensors` package holds whole tensors in memory, both ways; an index must not. The format is
one page: 8 bytes with the length of a JSON header, the header with name → dtype, shape and byte
range, then the arrays (github.com/huggingface/safetensors). Tests hold this module to the package.
"""

import json
import mmap
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np

from nestvec.errors import DamagedIndexError

CHUNK_BYTES = 1 << 20
_DTYPES = {"F32": "<f4", "I32": "<i4", "I64": "<i8", "U64": "<u8", "U8": "|u1"}
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}

Layout = Mapping[str, tuple[np.dtype, tuple[int, ...]]]
"""Name → dtype and shape of each array in a file, in the order in which they lie."""


class TensorWriter:
    """Creates a file of the given layout; arrays are then filled through writable memory maps."""

    def __init__(self, path: Path, layout: Layout) -> None:
        header: dict[str, object] = {}
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
            file.truncate(8 + len(text) + end)
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), 0)
        self.arrays = _arrays(self._map, header, 8 + len(text))

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


def write_tensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays that are in memory already."""
    with TensorWriter(path, {name: (a.dtype, a.shape) for name, a in arrays.items()}) as writer:
        for name, array in arrays.items():
            writer.arrays[name][...] = array


def map_tensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file, mapped and not read; `DamagedIndexError` unless the file is whole.

    The map is private (copy on write): arrays are writable as numba's one signature wants them, and
    nothing written to them reaches the file.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size < 8:
                raise ValueError(f"it has {size} bytes")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            length = int.from_bytes(mapped[:8], "little")
            if 8 + length > size:
                raise ValueError(f"its header of {length} bytes is longer than the file")
            header = json.loads(mapped[8 : 8 + length])
            return _arrays(mapped, header, 8 + length)
    except FileNotFoundError:
        raise DamagedIndexError(
            f"{path} is missing, although the index lists it; restore it or build the index again"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise DamagedIndexError(
            f"{path} is damaged ({e}); restore it or build the index again"
        ) from None


def checksums(path: Path) -> bytes:
    """CRC-32 of each MiB of the file, four bytes each: a later reader may check a part alone."""
    with path.open("rb") as file:
        chunks = iter(lambda: file.read(CHUNK_BYTES), b"")
        return b"".join(zlib.crc32(chunk).to_bytes(4, "little") for chunk in chunks)


def _arrays(mapped: mmap.mmap, header: Mapping[str, object], start: int) -> dict[str, np.ndarray]:
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        arrays[name] = _array(mapped, name, entry, start)
    return arrays


def _array(mapped: mmap.mmap, name: str, entry: object, start: int) -> np.ndarray:
    if not isinstance(entry, dict):
        raise ValueError(f"entry {name!r} of its header is not an object")
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    shape = tuple(int(length) for length in entry["shape"])
    first, last = (int(offset) for offset in entry["data_offsets"])
    count = int(np.prod(shape, dtype=np.int64))
    if last - first != count * dtype.itemsize or not 0 <= first <= last <= len(mapped) - start:
        raise ValueError(f"array {name!r} does not fit into the file")
    if count == 0:
        return np.empty(shape, dtype)
    return np.frombuffer(mapped, dtype, count, start + first).reshape(shape)
