"""Binary vectors packed eight bits to a byte, as embedding APIs and Sentence Transformers do."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nestvec.encode.stacking import stack_on_disk
from nestvec.errors import DataError
from nestvec.shapes import Float32

_BLOCK_ROWS = 8_192
_SIGNED_OFFSET = 128
"""What Sentence Transformers takes from a byte to fit its "binary" precision into int8."""


def unpack_bits(packed: np.ndarray, path: Path) -> Float32[np.ndarray, "n dim"]:
    """Unpack rows of bytes [n, dim / 8] to +1 for each bit that is set and −1 for the others.

    The first bit of a byte is its highest, as in `np.packbits`. Bytes are 0 to 255 ("ubinary"), or
    −128 to 127 ("binary": 128 less) if they are int8 or one of them is negative. The result is a
    memory map of a temporary file. `DataError` for numbers that are no bytes.
    """
    lowest, highest = (float(f(packed)) for f in (np.min, np.max)) if packed.size else (0.0, 0.0)
    offset = _SIGNED_OFFSET if packed.dtype == np.int8 or lowest < 0 else 0
    if not 0 <= lowest + offset <= highest + offset <= np.iinfo(np.uint8).max:
        raise DataError(
            f"'{path}' holds numbers from {lowest:g} to {highest:g}, which are no packed bits; "
            "read it without packed_bits (--packed-bits)"
        )

    def blocks() -> Iterator[tuple[Path, np.ndarray]]:
        for start in range(0, max(len(packed), 1), _BLOCK_ROWS):
            block = packed[start : start + _BLOCK_ROWS].astype(np.float32) + offset
            if (block != np.round(block)).any():
                raise DataError(
                    f"'{path}' holds fractions, which are no packed bits; read it without "
                    "packed_bits (--packed-bits)"
                )
            bits = np.unpackbits(block.astype(np.uint8), axis=1)
            yield path, bits.astype(np.float32) * 2 - 1

    return stack_on_disk(blocks())
