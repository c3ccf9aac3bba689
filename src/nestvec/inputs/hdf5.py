"""HDF5 files: a data set of vectors, and one of ids in the same group."""

import logging
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from nestvec.errors import DataError
from nestvec.extras import require
from nestvec.inputs.stored_vectors import StoredVectors, integer_ids, listed_shapes

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

_ID_NAMES = ("ids", "id", "_id")
_log = logging.getLogger(__name__)


def read_hdf5(path: Path, key: str | None) -> StoredVectors:
    """Read the data set of vectors that `key` names, such as `train` or `group/train`.

    Without `key` it is the only 2-D data set of numbers. A data set in one piece is memory-mapped;
    one in chunks or compressed is read. A data set `ids`, `id` or `_id` in the same group holds the
    ids, if it is as long. `DataError` where `key` names no such data set, or is needed.
    """
    h5py = require("h5py", "hdf5")
    with h5py.File(path, "r") as file:
        data_sets = _data_sets(h5py, file)
        name = _choose(path, file, data_sets, key)
        vectors = _numbers(path, file[name])
        id_name = _id_name(file, name, len(vectors))
        ids = None if id_name is None else _ids(h5py, path, file[id_name])
        unread = [other for other in data_sets if other not in (name, id_name)]
    if unread:
        _log.warning("nestvec did not read %s in '%s'", ", ".join(map(repr, unread)), path)
    return StoredVectors(vectors, ids)


def _data_sets(h5py: Any, file: Any) -> dict[str, Any]:
    """Find all data sets of a file by their path inside it."""
    data_sets: dict[str, Any] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            data_sets[name] = node

    file.visititems(visit)
    return data_sets


def _choose(path: Path, file: Any, data_sets: dict[str, Any], key: str | None) -> str:
    matrices = [(name, node) for name, node in data_sets.items() if _is_matrix(node)]
    if key is not None:
        # Links are no items of their own, so the file resolves the name.
        if not _is_matrix(file.get(key)):
            raise DataError(
                f"'{path}' has no 2-D data set of numbers named {key!r}; it has "
                f"{listed_shapes(matrices) or 'none at all'}"
            )
        return key.strip("/")
    if not matrices:
        raise DataError(
            f"'{path}' holds no 2-D data set of numbers, only "
            f"{', '.join(map(repr, data_sets)) or 'nothing'}; write the file again"
        )
    if len(matrices) > 1:
        raise DataError(
            f"'{path}' holds {listed_shapes(matrices)}; choose one with key={matrices[0][0]!r} "
            f"(--key {matrices[0][0]})"
        )
    return matrices[0][0]


def _is_matrix(node: Any) -> bool:
    shape = getattr(node, "shape", None)
    return shape is not None and len(shape) == 2 and node.dtype.kind in "fiu"


def _numbers(path: Path, node: Any) -> np.ndarray:
    offset = node.id.get_offset()  # None for chunks, and for data in other files
    in_one_piece = offset is not None and not node.external and not node.is_virtual
    if in_one_piece and node.dtype.isnative and node.size:
        return np.memmap(path, node.dtype, mode="r", offset=offset, shape=node.shape)
    rows: np.ndarray = node[...]
    return rows.astype(rows.dtype.newbyteorder("="), copy=False)


def _id_name(file: Any, name: str, rows: int) -> str | None:
    """Name the data set of ids in the group of the vectors, one per row."""
    names = (str(PurePosixPath(name).with_name(id_name)) for id_name in _ID_NAMES)
    return next((n for n in names if getattr(file.get(n), "shape", None) == (rows,)), None)


def _ids(h5py: Any, path: Path, node: Any) -> np.ndarray:
    if h5py.check_string_dtype(node.dtype) is not None:
        return np.asarray(node.asstr()[...], dtype=np.str_)
    if node.dtype.kind not in "iu":
        raise DataError(
            f"{node.name!r} in '{path}' has ids of the type {node.dtype}; use integers or texts"
        )
    return integer_ids(path, node[...])
