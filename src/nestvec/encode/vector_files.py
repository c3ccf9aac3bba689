"""Files of vectors of all kinds: those of nearest-neighbour search, and those of `files`."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nestvec.encode.files import VectorFile
from nestvec.encode.files import read_vectors as read_other_vectors
from nestvec.encode.foreign import one_line
from nestvec.encode.packed_bits import unpack_bits
from nestvec.encode.stacking import stack_on_disk
from nestvec.errors import DataError, NestvecError
from nestvec.inputs.ann_vectors import read_ann_vectors
from nestvec.inputs.faiss_file import read_faiss
from nestvec.inputs.folders import data_files
from nestvec.inputs.formats import ANN_FORMATS, ANN_VECTORS, Format, file_format
from nestvec.inputs.hdf5 import read_hdf5
from nestvec.inputs.hnswlib_file import read_hnswlib
from nestvec.inputs.stored_vectors import StoredVectors
from nestvec.inputs.usearch_file import read_usearch
from nestvec.shapes import Float
from nestvec.vectors import check_vectors

_BLOCK_ROWS = 65_536
_log = logging.getLogger("nestvec.encode")


def read_vectors(
    path: str | Path, key: str | None = None, *, packed_bits: bool = False
) -> VectorFile:
    """Read a file of vectors; `key` names the array, column, field or data set if it has several.

    A folder is read as one file: its files are shards, in the order of their names.

    Of records (JSON lines or arrays, TSV, CSV, replies of embedding APIs) `key` may be nested, as
    `outer.inner`; without it the field is a usual one of vectors. Of an HDF5 file it may be a path,
    as `group/train`. The content tells the format, and the name where it cannot. Floats of `.npy`,
    `.fvecs`, `.fbin`, an index of hnswlib and an HDF5 data set in one piece are memory-mapped.
    All else is read. Integers become floats; with `packed_bits` they are bytes of bits, which
    become +1 and −1.
    Ids are those of the file: an array, a column or a field of them, or the ids of an index.
    Rows are neither scaled nor searched for NaN: whoever uses them does that block by block. Raises
    `DataError` for a file that is missing, damaged, of another kind, or ambiguous without `key`,
    and `VectorsError` for an array that does not hold 2-D floats.
    """
    path = Path(path)
    format_ = file_format(path)
    if format_ in (None, Format.TXT):
        names = ", ".join(kind.value for kind in Format if kind is not Format.TXT)
        raise DataError(f"'{path}' is none of {names}; convert it to one of these")
    if format_ not in ANN_FORMATS:
        return read_other_vectors(path, key, packed_bits=packed_bits)
    if not path.exists():
        raise DataError(f"there is no file '{path}'; check the path")
    shards = data_files(path)
    files = {shard: _read_file(shard, format_, key, packed_bits) for shard in shards}
    vectors, ids = files[path] if shards == [path] else _stacked(path, files)
    # Libraries number rows where nobody else does; texts beside the vectors may have better ids.
    is_numbered = ids is not None and np.array_equal(ids, np.arange(len(ids)))
    return VectorFile(vectors, None if is_numbered else ids)


def _read_file(
    path: Path, format_: Format, key: str | None, packed_bits: bool
) -> tuple[Float[np.ndarray, "n dim"], np.ndarray | None]:
    if key is not None and format_ is not Format.HDF5:
        raise DataError(f"'{path}' holds vectors without a name; leave out key={key!r}")
    try:
        stored = read_hdf5(path, key) if format_ is Format.HDF5 else _READERS[format_](path)
    except NestvecError:
        raise
    except Exception as e:
        # Libraries fed damaged bytes raise whatever they like; it all means the same to the user.
        raise DataError(
            f"'{path}' cannot be read as {format_.value} ({one_line(e)}); write the file again"
        ) from e
    if format_ is Format.IVECS:
        _log.warning(
            "'%s' holds whole numbers, which may be ids of neighbours and no vectors", path
        )
    if packed_bits:
        return unpack_bits(stored.vectors, path), stored.ids
    if stored.packed_bits:
        raise DataError(
            f"'{path}' holds bits; read them as +1 and −1 with packed_bits (--packed-bits)"
        )
    if format_ is Format.HDF5 and stored.vectors.dtype.itemsize == 1:
        _log.warning(
            "'%s' holds %s numbers, which are taken as they are; if they are packed bits, read "
            "them with packed_bits (--packed-bits)",
            path,
            stored.vectors.dtype,
        )
    return _as_floats(path, stored.vectors), stored.ids


def _as_floats(path: Path, numbers: np.ndarray) -> Float[np.ndarray, "n dim"]:
    """Return floats as they are, integers as floats: those of a memory map in a file on disk."""
    if numbers.dtype.kind == "f" or not isinstance(numbers, np.memmap):
        return check_vectors(numbers, f"'{path}'")
    starts = range(0, len(numbers), _BLOCK_ROWS)
    blocks = ((path, numbers[start : start + _BLOCK_ROWS]) for start in starts)
    return stack_on_disk((path, check_vectors(block, f"'{path}'")) for path, block in blocks)


def _stacked(
    folder: Path, files: dict[Path, tuple[np.ndarray, np.ndarray | None]]
) -> tuple[Float[np.ndarray, "n dim"], np.ndarray | None]:
    vectors = stack_on_disk((shard, part) for shard, (part, _) in files.items())
    parts = [ids for _, ids in files.values() if ids is not None]
    if 0 < len(parts) < len(files):
        shard = next(shard for shard, (_, ids) in files.items() if ids is None)
        raise DataError(f"{shard} has no ids, and other files of '{folder}' have some")
    if len({ids.dtype.kind for ids in parts}) > 1:
        raise DataError(f"'{folder}' has ids of both kinds; use all int or all text")
    return vectors, np.concatenate(parts) if parts else None


def _ann_reader(suffix: str) -> Callable[[Path], StoredVectors]:
    return lambda path: read_ann_vectors(path, suffix)


_READERS: dict[Format, Callable[[Path], StoredVectors]] = {
    **{format_: _ann_reader(format_.value) for format_ in ANN_VECTORS},
    Format.FAISS: read_faiss,
    Format.USEARCH: read_usearch,
    Format.HNSWLIB: read_hnswlib,
}
