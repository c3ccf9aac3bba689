"""Export of an index to one file: vectors, and the ids, texts and metadata that the format holds.

Rows are read and written a block at a time; a file appears whole or not at all.
"""

import gzip
import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from nestvec.documents import Document
from nestvec.errors import InputError, StorageError
from nestvec.extras import require
from nestvec.index.snapshot import Snapshot
from nestvec.inputs.formats import TRANSFORM_LABEL, suffix_of
from nestvec.shapes import Float32

BLOCK_ROWS = 4096

_RESERVED = ("id", "text", "vector")
_log = logging.getLogger(__name__)


def export(snapshot: Snapshot, path: Path, overwrite: bool) -> None:
    """Write the live rows of `snapshot` to `path`, in the format of its suffix.

    `InputError` for another suffix, `StorageError` for a file that exists without `overwrite`.
    """
    write, lost = _writer_of(path, snapshot)
    if path.is_dir() or (path.exists() and not overwrite):
        raise StorageError(f"{path} exists; choose another path or overwrite it")
    if not path.parent.is_dir():
        raise StorageError(f"there is no folder {path.parent}; create it or choose another path")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            write(snapshot, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise
    if lost:
        _log.warning(
            "%s holds no %s of the index; .jsonl and .parquet hold them", path, " or ".join(lost)
        )
    if snapshot.transform is not None and write is not _write_safetensors:
        _log.warning("the vectors in %s went through the transform of the index already", path)


def _writer_of(
    path: Path, snapshot: Snapshot
) -> tuple[Callable[[Snapshot, IO[bytes]], None], list[str]]:
    """Choose how to write a file by its name, with the columns of the index that it cannot hold."""
    suffix, packed = suffix_of(path), path.name.lower().endswith(".gz")
    others = path.name.lower().endswith(".zst")
    if suffix in (".jsonl", ".ndjson") and not others:
        return (_write_gzipped if packed else _write_jsonl), []
    if suffix not in _ARRAYS or packed or others:
        names = ", ".join((*_ARRAYS, ".jsonl", ".jsonl.gz"))
        raise InputError(f"{path} is named like none of {names}; name the file so")
    lost = [] if suffix == ".parquet" else _columns_present(snapshot)
    with_ids = suffix == ".npz" or (suffix == ".safetensors" and snapshot.ids_kind != "str")
    if suffix != ".parquet" and not with_ids:
        lost.insert(0, "ids")
    return _ARRAYS[suffix], lost


def _documents(snapshot: Snapshot) -> Iterator[list[Document]]:
    numbers = snapshot.numbers()
    for start in range(0, len(numbers), BLOCK_ROWS):
        yield snapshot.documents(numbers[start : start + BLOCK_ROWS])


def _rows(snapshot: Snapshot) -> Iterator[tuple[list[Document], Float32[np.ndarray, "n dim"]]]:
    """Iterate documents and vectors, at most `BLOCK_ROWS` at a time, in order of insertion."""
    for part in snapshot.parts:
        mask = part.live_mask
        live = np.arange(len(part.rows)) if mask is None else np.flatnonzero(mask)
        for start in range(0, len(live), BLOCK_ROWS):
            rows = live[start : start + BLOCK_ROWS]
            yield snapshot.documents(part.rows.numbers[rows]), part.rows.vectors[rows]


def _columns_present(snapshot: Snapshot) -> list[str]:
    """List which of texts and metadata some row has."""
    found: set[str] = set()
    for documents in _documents(snapshot):
        if any(document.text is not None for document in documents):
            found.add("texts")
        if any(document.metadata for document in documents):
            found.add("metadata")
        if len(found) == 2:
            break
    return sorted(found, reverse=True)


def _write_gzipped(snapshot: Snapshot, file: IO[bytes]) -> None:
    with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
        _write_jsonl(snapshot, packed)


def _write_jsonl(snapshot: Snapshot, file: Any) -> None:
    has_texts = "texts" in _columns_present(snapshot)
    for documents, vectors in _rows(snapshot):
        for document, vector in zip(documents, vectors, strict=True):
            record: dict[str, Any] = {"_id": document.id}
            if has_texts:
                record["text"] = document.text
            if document.metadata:
                record["metadata"] = document.metadata
            record["vector"] = vector.tolist()
            file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")


def _write_parquet(snapshot: Snapshot, file: IO[bytes]) -> None:
    pyarrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    fields = _metadata_fields(snapshot, pyarrow)
    ids = pyarrow.string() if snapshot.ids_kind == "str" else pyarrow.int64()
    columns = [("id", ids)]
    if "texts" in _columns_present(snapshot):
        columns.append(("text", pyarrow.string()))
    vector_type = pyarrow.list_(pyarrow.float32(), snapshot.dim)
    schema = pyarrow.schema([*columns, *fields, ("vector", vector_type)])
    with parquet.ParquetWriter(file, schema) as writer:
        for documents, vectors in _rows(snapshot):
            records = [document.metadata or {} for document in documents]
            values = {
                "id": [document.id for document in documents],
                "text": [document.text for document in documents],
                **{field.name: [r.get(field.name) for r in records] for field in fields},
                "vector": pyarrow.FixedSizeListArray.from_arrays(
                    pyarrow.array(vectors.reshape(-1)), snapshot.dim
                ),
            }
            writer.write_table(
                pyarrow.table({name: values[name] for name in schema.names}, schema=schema)
            )


def _metadata_fields(snapshot: Snapshot, pyarrow: Any) -> list[Any]:
    """Find the column of each metadata field, in order of appearance, and its type."""
    types: dict[str, Any] = {}
    for documents in _documents(snapshot):
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
                    ".parquet cannot hold; export to .jsonl"
                ) from e
            types[name] = unified.field(name).type
    clashes = [name for name in types if name in _RESERVED]
    if clashes:
        raise InputError(
            f"the metadata field {clashes[0]!r} has the name of another column; export to .jsonl"
        )
    return [pyarrow.field(name, kind) for name, kind in types.items()]


def _write_npy(snapshot: Snapshot, file: Any) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(snapshot), snapshot.dim)}
    np.lib.format.write_array_header_1_0(file, header)
    _write_vectors(snapshot, file)


def _write_vectors(snapshot: Snapshot, file: Any) -> None:
    for _, vectors in snapshot.iter_vectors(BLOCK_ROWS):
        file.write(np.ascontiguousarray(vectors, "<f4").tobytes())


def _write_npz(snapshot: Snapshot, file: IO[bytes]) -> None:
    ids = snapshot.ids()
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open("vectors.npy", "w", force_zip64=True) as member:
            _write_npy(snapshot, member)
        with archive.open("ids.npy", "w", force_zip64=True) as member:
            array = ids if ids.dtype.kind == "i" else np.array(ids.tolist(), np.str_)
            np.lib.format.write_array(member, array, allow_pickle=False)


def _write_safetensors(snapshot: Snapshot, file: IO[bytes]) -> None:
    n, dim = len(snapshot), snapshot.dim
    ids = b"" if snapshot.ids_kind == "str" else snapshot.ids().astype("<i8").tobytes()
    header: dict[str, Any] = {}
    if snapshot.transform is not None:
        label = json.dumps({"adapter": snapshot.transform.fingerprint})
        header["__metadata__"] = {TRANSFORM_LABEL: label}
    if ids:
        header["ids"] = {"dtype": "I64", "shape": [n], "data_offsets": [0, len(ids)]}
    ends = [len(ids), len(ids) + 4 * n * dim]
    header["vectors"] = {"dtype": "F32", "shape": [n, dim], "data_offsets": ends}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text + ids)
    _write_vectors(snapshot, file)


_ARRAYS: dict[str, Callable[[Snapshot, IO[bytes]], None]] = {
    ".parquet": _write_parquet,
    ".npz": _write_npz,
    ".npy": _write_npy,
    ".safetensors": _write_safetensors,
}
