"""Index files of hnswlib (`save_index`): a header, the rows with their links, and upper links.

The format is that of `HierarchicalNSW::saveIndex` of hnswlib 0.8. It has no magic number, but the
offsets in its header depend on each other, so a file that fits them all is one.
"""

import logging
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nestvec.errors import DataError
from nestvec.inputs.stored_vectors import StoredVectors, integer_ids

_HEADER = struct.Struct("<6QiI3QdQ")
_LABEL_BYTES = 8
_LINK_BYTES = 4
"""Bytes of a link, and before the links of a row: their count, and the mark of a deleted row."""
_DELETED_OFFSET = 2
_DELETED = 1
_NUMBER_BYTES = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The header of an index file: how its rows lie."""

    rows: int
    row_bytes: int
    vector_offset: int
    label_offset: int

    @property
    def dim(self) -> int:
        return (self.label_offset - self.vector_offset) // _NUMBER_BYTES

    @property
    def links_offset(self) -> int:
        """Place in the file where the links of the upper levels begin."""
        return _HEADER.size + self.rows * self.row_bytes


def is_hnswlib(path: Path) -> bool:
    """Tell by the header of a file and its size whether hnswlib wrote it."""
    return _layout(path) is not None


def read_hnswlib(path: Path) -> StoredVectors:
    """Map the vectors of an index into memory; their labels are the ids.

    Rows are in the order in which they were added; deleted ones are skipped, with a warning. With
    the metric `cosine`, hnswlib has scaled vectors to length 1. `DataError` for a file that is cut
    short, or no index of hnswlib.
    """
    layout = _layout(path)
    if layout is None:
        raise DataError(
            f"'{path}' is no whole index of hnswlib: its header and its size contradict "
            "each other; save the index again"
        )
    _check_links(path, layout)
    if not layout.rows:
        raise DataError(f"'{path}' is an index without rows; add vectors before you save it")
    row = np.dtype(
        {
            "names": ["mark", "vector", "label"],
            "formats": ["u1", ("<f4", (layout.dim,)), "<u8"],
            "offsets": [_DELETED_OFFSET, layout.vector_offset, layout.label_offset],
            "itemsize": layout.row_bytes,
        }
    )
    rows = np.memmap(path, row, mode="r", offset=_HEADER.size, shape=(layout.rows,))
    live = (rows["mark"] & _DELETED) == 0
    if live.all():
        return StoredVectors(rows["vector"], integer_ids(path, rows["label"]))
    if not live.any():
        raise DataError(f"all {layout.rows:,} rows of '{path}' are deleted; no vector is left")
    n_deleted = layout.rows - int(live.sum())
    _log.warning("%s of the %s rows in '%s' are deleted; skipped", n_deleted, layout.rows, path)
    return StoredVectors(rows["vector"][live], integer_ids(path, rows["label"][live]))


def _layout(path: Path) -> _Layout | None:
    """Read the header; None if it is none, or more than the file has room for."""
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size:
        return None
    (
        level0_offset, capacity, rows, row_bytes, label_offset, vector_offset, _max_level,
        entry_point, max_m, max_m0, m, level_factor, _ef_construction,
    ) = _HEADER.unpack(head)  # fmt: skip
    layout = _Layout(rows, row_bytes, vector_offset, label_offset)
    fits = (
        level0_offset == 0
        and rows <= capacity
        and max_m0 == 2 * max_m == 2 * m > 2
        and vector_offset == _LINK_BYTES * (max_m0 + 1)
        and label_offset > vector_offset
        and (label_offset - vector_offset) % _NUMBER_BYTES == 0
        and row_bytes == label_offset + _LABEL_BYTES
        and math.isclose(level_factor, 1 / math.log(m))
        and (rows == 0 or entry_point < rows)
        and layout.links_offset + _LINK_BYTES * rows <= path.stat().st_size
    )
    return layout if fits else None


def _check_links(path: Path, layout: _Layout) -> None:
    """Raise `DataError` unless the links of the upper levels end where the file ends."""
    words = np.fromfile(path, "<u4", offset=layout.links_offset)
    place, end = 0, len(words)
    view = memoryview(words.data)  # twice as fast to index as the array
    for row in range(layout.rows):
        # The size of a row's links, and the links. Most rows have none.
        place = end + 1 if place >= end else place + 1 + view[place] // _LINK_BYTES
        if place > end:
            raise DataError(f"'{path}' ends within the links of row {row}; save the index again")
    surplus_bytes = path.stat().st_size - layout.links_offset - place * _LINK_BYTES
    if surplus_bytes:
        raise DataError(
            f"'{path}' has {surplus_bytes} bytes after its last row; save the index again"
        )
