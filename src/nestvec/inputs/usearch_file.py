"""Index files of USearch (`Index.save`): their vectors, with their keys as ids."""

import logging
import struct
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.errors import DataError
from nestvec.extras import require
from nestvec.inputs.stored_vectors import StoredVectors, integer_ids

_MAGIC = b"usearch"
_BLOCK_KEYS = 65_536
_log = logging.getLogger(__name__)


def is_usearch(path: Path) -> bool:
    """Tell whether a file is an index of USearch: its header follows the matrix of vectors."""
    with path.open("rb") as file:
        head = file.read(16)
        for sizes in ("<II", "<QQ"):
            if len(head) == 16:
                rows, row_bytes = struct.unpack_from(sizes, head)
                place = struct.calcsize(sizes) + rows * row_bytes
                if place < path.stat().st_size:
                    file.seek(place)
                    if file.read(len(_MAGIC)) == _MAGIC:
                        return True
    return False


def read_usearch(path: Path) -> StoredVectors:
    """Read the vectors of an index, in the order of their keys.

    An index with several vectors under a key repeats the key. Vectors of less than 32 bits a number
    are approximations of those that were added, with a warning. `DataError` for a damaged file.
    """
    if not is_usearch(path):
        raise DataError(
            f"'{path}' is no index of USearch with vectors, or is cut short; save it again"
        )
    usearch = require("usearch.index", "usearch")
    index = usearch.Index.restore(str(path), view=True)
    if not len(index):
        raise DataError(f"'{path}' is an index without rows; add vectors before you save it")
    kind, kinds = index.dtype, usearch.ScalarKind
    if kind not in (kinds.F32, kinds.F64, kinds.B1):
        _log.warning(
            "'%s' stores numbers as %s: its vectors are approximations of those that were added",
            path,
            kind.name.lower(),
        )
    keys, counts = np.unique(index.keys[:], return_counts=True)
    numbers = kind if kind in (kinds.F16, kinds.F64, kinds.B1) else kinds.F32
    blocks = [
        _rows(index.get(keys[start : start + _BLOCK_KEYS], dtype=numbers))
        for start in range(0, len(keys), _BLOCK_KEYS)
    ]
    ids = integer_ids(path, np.repeat(keys, counts))
    return StoredVectors(np.concatenate(blocks), ids, packed_bits=kind == kinds.B1)


def _rows(vectors: Any) -> np.ndarray:
    """Stack what USearch returns: an array, or one for each key where a key may have several."""
    return vectors if isinstance(vectors, np.ndarray) else np.vstack(vectors)
