"""Vectors computed before: files of arrays and Arrow tables, fields of records, and folders."""

import logging
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from nestvec.encode.foreign import one_line
from nestvec.encode.json_row import parse_row
from nestvec.encode.packed_bits import unpack_bits
from nestvec.encode.stacking import stack_on_disk
from nestvec.encode.table_vectors import NoRowsError, read_column
from nestvec.errors import DataError, NestvecError
from nestvec.inputs.arrow_tables import open_table
from nestvec.inputs.column_roles import ID_COLUMNS
from nestvec.inputs.folders import data_files
from nestvec.inputs.formats import COLUMNAR, TRANSFORM_LABEL, Format, file_format
from nestvec.inputs.numbers import SHARED_FIELDS, VECTOR_FIELDS, row_of, vector_fields
from nestvec.inputs.records import read_records
from nestvec.json_text import parse_json
from nestvec.shapes import Float, Float32
from nestvec.vectors import check_vectors

_log = logging.getLogger("nestvec.encode")

ID_NAMES = ("ids", *ID_COLUMNS)
"""Arrays, columns and fields that hold the rows' ids, the first present one taken."""


@dataclass(frozen=True, slots=True, eq=False)
class VectorFile:
    """Vectors [n, dim] of floats, and one id per row if the file has ids.

    `ids` is a one-dimensional array of int64 or of texts. `adapted_by` is the fingerprint of the
    adapter that the vectors went through, if the file says so.
    """

    vectors: np.ndarray
    ids: np.ndarray | None
    adapted_by: str | None = None


def read_vectors(
    path: str | Path, key: str | None = None, *, packed_bits: bool = False
) -> VectorFile:
    """Read a file of vectors; `key` names the array, column or field if there are several.

    A folder is read as one file: its files are shards, in the order of their names.

    Of records (JSON lines or arrays, TSV, CSV, replies of embedding APIs) `key` may be nested, as
    `outer.inner`; without it the field is one of `VECTOR_FIELDS` or `SHARED_FIELDS`. The content
    tells the format, and the name where it cannot. A `.npy` is memory-mapped, all else is read.
    Integers become float32; with `packed_bits` they are bytes of bits, which become +1 and −1.
    Rows are neither scaled nor searched for NaN: whoever uses them does that block by block. Raises
    `DataError` for a file that is missing, damaged, of another kind, or ambiguous without `key`,
    and `VectorsError` for an array that does not hold 2-D floats.
    """
    path = Path(path)
    format_ = file_format(path)
    if format_ not in (*_ARRAY_READERS, *_RECORD_FORMATS):
        names = (
            *(field.value for field in _ARRAY_READERS if field),
            *(f.value for f in _RECORD_FORMATS),
        )
        raise DataError(f"'{path}' is none of {', '.join(names)}; convert it to one of these")
    if not path.exists():
        raise DataError(f"there is no file '{path}'; check the path")
    shards = data_files(path)
    is_one = format_ in _RECORD_FORMATS or shards == [path]
    read = _read_file(path, key) if is_one else _read_shards(path, shards, key)
    return replace(read, vectors=_as_floats(read.vectors, path, packed_bits))


def _as_floats(vectors: np.ndarray, path: Path, packed_bits: bool) -> Float[np.ndarray, "n dim"]:
    """Unpack bits, or take whole numbers of 8 bits, as quantisation leaves them, for floats."""
    if packed_bits:
        return unpack_bits(vectors, path)
    if vectors.dtype.kind == "f":
        return vectors
    _log.warning(
        "'%s' holds %s numbers, which are taken as they are; if they are packed bits, read them "
        "with packed_bits (--packed-bits)",
        path,
        vectors.dtype,
    )
    return vectors.astype(np.float32)


def _read_file(path: Path, key: str | None) -> VectorFile:
    format_ = file_format(path)
    reader = _ARRAY_READERS.get(format_, _read_records)
    try:
        return reader(path, key)
    except NestvecError:
        raise
    except Exception as e:
        # Parsers fed damaged bytes raise whatever they like; all of it means the same to the user.
        name = path.suffix if format_ is None else format_.value
        raise DataError(
            f"'{path}' cannot be read as {name} ({one_line(e)}); write the file again"
        ) from e


def _read_shards(folder: Path, shards: Sequence[Path], key: str | None) -> VectorFile:
    ids: list[Any] = []
    labels: dict[str | None, Path] = {}
    without_ids: list[Path] = []

    def parts() -> Iterator[tuple[Path, np.ndarray]]:
        for shard in shards:
            try:
                part = _read_file(shard, key)
            except NoRowsError:
                continue
            labels.setdefault(part.adapted_by, shard)
            if part.ids is None:
                without_ids.append(shard)
            else:
                ids.extend(part.ids.tolist())
            yield shard, part.vectors
        if not labels:
            raise DataError(f"'{folder}' has no rows; write its files again")

    vectors = stack_on_disk(parts())
    if len(labels) > 1:
        raise DataError(
            f"{' and '.join(str(path) for path in labels.values())} went through different "
            "transforms; keep them in folders of their own"
        )
    if without_ids and ids:
        raise DataError(f"{without_ids[0]} has no ids, and other files of '{folder}' have some")
    return VectorFile(
        vectors, _check_ids(folder, ids, len(vectors)) if ids else None, next(iter(labels))
    )


def _read_npy(path: Path, key: str | None) -> VectorFile:
    if key is not None:
        raise DataError(f"'{path}' holds a single array without a name; leave out key={key!r}")
    # Not np.load: that would also take a renamed .npz, and leave it open.
    array = np.lib.format.open_memmap(path, mode="r")
    return VectorFile(_check_numbers(array, f"'{path}'"), None)


def _read_npz(path: Path, key: str | None) -> VectorFile:
    if not zipfile.is_zipfile(path):
        raise DataError(f"'{path}' is not a .npz archive or is cut short; write the file again")
    with np.load(path, allow_pickle=False) as archive:

        @cache  # the search for the matrix and its use read it once
        def read(name: str) -> np.ndarray:
            try:
                return np.asarray(archive[name])
            except ValueError as e:  # NumPy would have to run code from the file
                raise DataError(
                    f"{name!r} in '{path}' holds Python objects, which nestvec never loads ({e}); "
                    "save it with a dtype of texts or numbers, such as ids.astype(str)"
                ) from None

        every = archive.files
        matrices = [name for name in every if key is None and _is_matrix(read, name)]
        return _from_arrays(path, matrices or every, every, read, key)


def _read_safetensors(path: Path, key: str | None) -> VectorFile:
    with safe_open(path, framework="numpy") as tensors:

        def read(name: str) -> np.ndarray:
            if tensors.get_slice(name).get_dtype() == "BF16":
                return _read_bfloat16(path, name)
            array: np.ndarray = tensors.get_tensor(name)
            return array

        every = sorted(tensors.keys())
        shapes = {name: tensors.get_slice(name).get_shape() for name in every}
        matrices = [name for name in every if key is None and len(shapes[name]) == 2]
        arrays = _from_arrays(path, matrices or every, every, read, key)
        label = (tensors.metadata() or {}).get(TRANSFORM_LABEL)
        return arrays if label is None else replace(arrays, adapted_by=parse_json(label)["adapter"])


def _read_bfloat16(path: Path, name: str) -> Float32[np.ndarray, "..."]:
    """Read a tensor of bfloat16, which NumPy lacks: the upper half of a float32."""
    with path.open("rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        entry = parse_json(file.read(header_bytes))[name]
        first, end = entry["data_offsets"]
        file.seek(8 + header_bytes + first)
        halves = np.frombuffer(file.read(end - first), "<u2")
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])


def _check_numbers(array: np.ndarray, name: str) -> np.ndarray:
    """Check vectors; those of 8 bits keep their dtype, because they may be packed bits."""
    is_bytes = array.dtype in (np.int8, np.uint8) and array.ndim == 2 and array.shape[1] > 0
    return array if is_bytes else check_vectors(array, name)


def _is_matrix(read: Callable[[str], np.ndarray], name: str) -> bool:
    if name in ID_NAMES:
        return False
    array = read(name)
    return array.ndim == 2 and array.dtype.kind in "fiu"


def _from_arrays(
    path: Path,
    names: Sequence[str],
    every: Sequence[str],
    read: Callable[[str], np.ndarray],
    key: str | None,
) -> VectorFile:
    """Read the array of vectors among `names`, and the ids among `every` array of the file."""
    chosen = _choose(f"'{path}'", [name for name in names if name not in ID_NAMES], key)
    vectors = _check_numbers(read(chosen), f"{chosen!r} in '{path}'")
    id_name = _id_name(every, chosen)
    unread = [name for name in every if name not in (chosen, id_name)]
    if unread:
        _log.warning("nestvec did not read %s in '%s'", ", ".join(map(repr, unread)), path)
    ids = None if id_name is None else _check_ids(path, read(id_name).tolist(), len(vectors))
    return VectorFile(vectors, ids)


def _read_table(path: Path, key: str | None) -> VectorFile:
    with open_table(path) as table:
        columns = table.vector_columns() if key is None else table.number_lists()
        chosen = _choose(f"'{path}'", columns, key)
        id_name = _id_name(table.schema.names, chosen)
        vectors, ids = read_column(path, table, chosen, id_name, _check_numbers)
    return VectorFile(vectors, None if ids is None else _check_ids(path, ids, len(vectors)))


def _read_records(path: Path, key: str | None) -> VectorFile:
    rows: list[Float32[np.ndarray, " dim"]] = []
    ids: list[Any] = []
    for position, record in read_records(path):
        place = f"{position} of '{path}'"
        rows.append(_parse_row(place, record, _field(place, record, key)))
        if rows[-1].size != rows[0].size:
            raise DataError(f"{place} has {rows[-1].size} dimensions, others {rows[0].size}")
        ids.append(next((record[name] for name in ID_NAMES if name in record), None))
    if not rows:
        raise DataError(f"'{path}' has no records; write one JSON object per line")
    if all(row_id is None for row_id in ids):
        return VectorFile(np.stack(rows), None)
    return VectorFile(np.stack(rows), _check_ids(path, ids, len(rows)))


def _field(place: str, record: dict[str, Any], key: str | None) -> str:
    if key is not None:
        return key
    names = VECTOR_FIELDS + SHARED_FIELDS
    present = vector_fields(record) or [name for name in names if name in record]
    if not present:
        raise DataError(
            f"{place} has none of the usual fields of a vector ({', '.join(names)}), only "
            f"{', '.join(map(repr, record)) or 'nothing'}; name the vector's with key= (--key)"
        )
    return _choose(place, present, None)


def _parse_row(place: str, record: dict[str, Any], field: str) -> Float32[np.ndarray, " dim"]:
    try:
        row = parse_row(row_of(record, field))
    except KeyError:
        raise DataError(
            f"{place} has no vectors named {field!r}; it has {', '.join(map(repr, record))}"
        ) from None
    if row is None:
        raise DataError(f"the vector {field!r} in {place} is not a list of numbers; write it again")
    if not np.isfinite(row).all():
        raise DataError(f"the vector in {place} holds NaN or infinity; leave that record out")
    return row


def _choose(place: str, names: Sequence[str], key: str | None) -> str:
    """The array to read: the one named, or the only one there is."""
    listed = ", ".join(map(repr, names))
    if key is not None and key not in names:
        raise DataError(f"{place} has no vectors named {key!r}; it has {listed or 'none'}")
    if key is None and not names:
        raise DataError(f"{place} holds no vectors; write the file again")
    if key is None and len(names) > 1:
        raise DataError(
            f"{place} holds {listed}; choose one with key={names[0]!r} (--key {names[0]})"
        )
    return names[0] if key is None else key


def _id_name(names: Sequence[str], chosen: str) -> str | None:
    return next((name for name in ID_NAMES if name in names and name != chosen), None)


def _check_ids(path: Path, ids: list[Any], rows: int) -> np.ndarray:
    """Ids as int64 or as texts, one per row, else `DataError`. They may repeat here."""
    if len(ids) != rows:
        raise DataError(f"'{path}' has {len(ids)} ids for {rows} rows; write one id per row")
    kinds = {type(row_id) for row_id in ids}
    if kinds - {int} and kinds - {str}:
        array = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise DataError(f"'{path}' has ids of the types {array}; use all int or all text")
    if kinds == {int} and not -(2**63) <= min(ids) <= max(ids) < 2**63:
        raise DataError(
            f"'{path}' has ids beyond 64 bits with a sign, such as {max(ids)}; write ids as texts"
        )
    return np.asarray(ids, dtype=np.str_ if kinds == {str} else np.int64)


_ARRAY_READERS: dict[Format | None, Callable[[Path, str | None], VectorFile]] = {
    Format.NPY: _read_npy,
    Format.NPZ: _read_npz,
    Format.SAFETENSORS: _read_safetensors,
    **dict.fromkeys(COLUMNAR, _read_table),
}
_RECORD_FORMATS = (Format.JSON, Format.TSV, Format.CSV)
