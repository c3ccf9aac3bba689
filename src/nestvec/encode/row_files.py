"""Files of rows: vectors, and the ids, texts and metadata that the format holds.

Rows are read and written a block at a time; a file appears whole or not at all.
"""

import gzip
import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import numpy as np

from nestvec.documents import Document
from nestvec.errors import InputError, StorageError
from nestvec.extras import require
from nestvec.inputs.formats import TRANSFORM_LABEL, suffix_of
from nestvec.shapes import Float32

BLOCK_ROWS = 4096

_RESERVED = ("id", "text", "vector")
_log = logging.getLogger(__name__)


@runtime_checkable
class RowReader(Protocol):
    """The rows of an index, or of texts that were encoded, block by block."""

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows, and their width."""

    @property
    def transformed_by(self) -> str | None:
        """The fingerprint of the transform that the vectors went through, if any."""

    def ids(self) -> np.ndarray:
        """Return the id of each row: int64, or objects that are texts."""

    def documents(self) -> Iterator[list[Document]]:
        """Iterate ids, texts and metadata, at most `BLOCK_ROWS` at a time."""

    def vectors(self) -> Iterator[Float32[np.ndarray, "n dim"]]:
        """Iterate vectors in the blocks of `documents`."""


@dataclass(frozen=True, slots=True, eq=False)
class RowsInMemory:
    """Rows whose vectors are an array or a memory map."""

    rows: np.ndarray
    row_ids: Sequence[int | str]
    texts: Sequence[str | None]
    metadata: Sequence[Mapping[str, Any] | None]
    transformed_by: str | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows, and their width."""
        return self.rows.shape[0], self.rows.shape[1]

    def ids(self) -> np.ndarray:
        """Return the id of each row."""
        texts = any(isinstance(row_id, str) for row_id in self.row_ids)
        return np.array(self.row_ids, dtype=object if texts else np.int64)

    def documents(self) -> Iterator[list[Document]]:
        """Iterate ids, texts and metadata."""
        for block in self._blocks():
            rows = zip(self.row_ids[block], self.texts[block], self.metadata[block], strict=True)
            yield [Document(*row) for row in rows]

    def vectors(self) -> Iterator[Float32[np.ndarray, "n dim"]]:
        """Iterate vectors."""
        for block in self._blocks():
            yield np.asarray(self.rows[block], np.float32)

    def _blocks(self) -> Iterator[slice]:
        for start in range(0, len(self.rows), BLOCK_ROWS):
            yield slice(start, start + BLOCK_ROWS)


Writer = Callable[[RowReader, IO[bytes]], None]


def writer_of(path: Path) -> Writer:
    """Choose how to write a file by its name; `InputError` for another suffix."""
    suffix, packed = suffix_of(path), path.name.lower().endswith(".gz")
    others = path.name.lower().endswith(".zst")
    if suffix in (".jsonl", ".ndjson") and not others:
        return _write_gzipped if packed else _write_jsonl
    if suffix not in _ARRAYS or packed or others:
        names = ", ".join((*_ARRAYS, ".jsonl", ".jsonl.gz"))
        raise InputError(f"{path} is named like none of {names}; name the file so")
    return _ARRAYS[suffix]


def write_rows(rows: RowReader, path: Path, overwrite: bool) -> None:
    """Write rows to a file in the format of its suffix.

    A warning names what the rows have and the format does not hold. `InputError` for another
    suffix, `StorageError` for a file that exists without `overwrite`.
    """
    write = writer_of(path)
    with new_file(path, overwrite) as file:
        write(rows, file)
    lost = _lost(write, rows)
    if lost:
        _log.warning(
            "%s holds no %s of the rows; .jsonl and .parquet hold them", path, " or ".join(lost)
        )
    if rows.transformed_by is not None and write is not _write_safetensors:
        _log.warning("the vectors in %s went through the transform of the index already", path)


@contextmanager
def new_file(path: Path, overwrite: bool) -> Iterator[IO[bytes]]:
    """Open a file that gets its name when it is complete.

    `StorageError` for a file that exists without `overwrite`, and where there is no folder.
    """
    check_new_file(path, overwrite)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise


def check_new_file(path: Path, overwrite: bool) -> None:
    """Raise `StorageError` where `new_file` would."""
    if path.is_dir() or (path.exists() and not overwrite):
        raise StorageError(f"{path} exists; choose another path or overwrite it")
    if not path.parent.is_dir():
        raise StorageError(f"there is no folder {path.parent}; create it or choose another path")


def _lost(write: Writer, rows: RowReader) -> list[str]:
    """List what the rows have and the format does not hold."""
    if write in (_write_jsonl, _write_gzipped, _write_parquet):
        return []
    with_ids = write is _write_npz or (write is _write_safetensors and not _has_text_ids(rows))
    return [*([] if with_ids else ["ids"]), *_columns_present(rows)]


def _has_text_ids(rows: RowReader) -> bool:
    return bool(rows.ids().dtype.kind != "i")


def _columns_present(rows: RowReader) -> list[str]:
    """List which of texts and metadata some row has."""
    present: set[str] = set()
    for documents in rows.documents():
        if any(document.text is not None for document in documents):
            present.add("texts")
        if any(document.metadata for document in documents):
            present.add("metadata")
        if len(present) == 2:
            break
    return sorted(present, reverse=True)


def _write_gzipped(rows: RowReader, file: IO[bytes]) -> None:
    with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
        _write_jsonl(rows, packed)


def _write_jsonl(rows: RowReader, file: Any) -> None:
    has_texts = "texts" in _columns_present(rows)
    for documents, vectors in zip(rows.documents(), rows.vectors(), strict=True):
        for document, vector in zip(documents, vectors, strict=True):
            record: dict[str, Any] = {"_id": document.id}
            if has_texts:
                record["text"] = document.text
            if document.metadata:
                record["metadata"] = document.metadata
            record["vector"] = vector.tolist()
            file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")


def _write_parquet(rows: RowReader, file: IO[bytes]) -> None:
    pyarrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    fields = metadata_fields(rows.documents(), _RESERVED)
    ids = pyarrow.string() if _has_text_ids(rows) else pyarrow.int64()
    dim = rows.shape[1]
    columns = [("id", ids)]
    if "texts" in _columns_present(rows):
        columns.append(("text", pyarrow.string()))
    vector_type = pyarrow.list_(pyarrow.float32(), dim)
    schema = pyarrow.schema([*columns, *fields, ("vector", vector_type)])
    with parquet.ParquetWriter(file, schema) as writer:
        for documents, vectors in zip(rows.documents(), rows.vectors(), strict=True):
            records = [document.metadata or {} for document in documents]
            values = {
                "id": [document.id for document in documents],
                "text": [document.text for document in documents],
                **{field.name: [r.get(field.name) for r in records] for field in fields},
                "vector": pyarrow.FixedSizeListArray.from_arrays(
                    pyarrow.array(vectors.reshape(-1)), dim
                ),
            }
            writer.write_table(
                pyarrow.table({name: values[name] for name in schema.names}, schema=schema)
            )


def metadata_fields(blocks: Iterator[list[Document]], reserved: Sequence[str]) -> list[Any]:
    """Find the column of each metadata field, in order of appearance, and its type in Arrow.

    `InputError` for a field of several types, and for one with the name of another column.
    """
    pyarrow = require("pyarrow", "parquet")
    types: dict[str, Any] = {}
    for documents in blocks:
        records = [document.metadata or {} for document in documents]
        for name in dict.fromkeys(key for record in records for key in record):
            try:
                kind = pyarrow.array([record.get(name) for record in records]).type
                previous = types.get(name, kind)
                unified = pyarrow.unify_schemas(
                    [pyarrow.schema([(name, previous)]), pyarrow.schema([(name, kind)])],
                    promote_options="permissive",
                )
            except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as e:
                raise InputError(
                    f"the metadata field {name!r} has values of several types, which a column of "
                    ".parquet cannot hold; write .jsonl"
                ) from e
            types[name] = unified.field(name).type
    clashes = [name for name in types if name in reserved]
    if clashes:
        raise InputError(
            f"the metadata field {clashes[0]!r} has the name of another column; write .jsonl"
        )
    return [pyarrow.field(name, kind) for name, kind in types.items()]


def _write_npy(rows: RowReader, file: Any) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": rows.shape}
    np.lib.format.write_array_header_1_0(file, header)
    _write_vectors(rows, file)


def _write_vectors(rows: RowReader, file: Any) -> None:
    for vectors in rows.vectors():
        file.write(np.ascontiguousarray(vectors, "<f4").tobytes())


def _write_npz(rows: RowReader, file: IO[bytes]) -> None:
    ids = rows.ids()
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open("vectors.npy", "w", force_zip64=True) as member:
            _write_npy(rows, member)
        with archive.open("ids.npy", "w", force_zip64=True) as member:
            array = ids if ids.dtype.kind == "i" else np.array(ids.tolist(), np.str_)
            np.lib.format.write_array(member, array, allow_pickle=False)


def _write_safetensors(rows: RowReader, file: IO[bytes]) -> None:
    n, dim = rows.shape
    ids = b"" if _has_text_ids(rows) else rows.ids().astype("<i8").tobytes()
    header: dict[str, Any] = {}
    if rows.transformed_by is not None:
        label = json.dumps({"adapter": rows.transformed_by})
        header["__metadata__"] = {TRANSFORM_LABEL: label}
    if ids:
        header["ids"] = {"dtype": "I64", "shape": [n], "data_offsets": [0, len(ids)]}
    ends = [len(ids), len(ids) + 4 * n * dim]
    header["vectors"] = {"dtype": "F32", "shape": [n, dim], "data_offsets": ends}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text + ids)
    _write_vectors(rows, file)


_ARRAYS: dict[str, Writer] = {
    ".parquet": _write_parquet,
    ".npz": _write_npz,
    ".npy": _write_npy,
    ".safetensors": _write_safetensors,
}
