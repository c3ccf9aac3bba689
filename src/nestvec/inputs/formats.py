"""Formats of files of texts and vectors: the content decides, and the name where it cannot."""

import re
from enum import Enum
from pathlib import Path
from typing import Any

from nestvec.errors import DataError
from nestvec.inputs.faiss_file import FAISS_HEAD_BYTES, is_faiss
from nestvec.inputs.folders import data_files, is_lance
from nestvec.inputs.hdf5 import HDF5_MAGIC
from nestvec.inputs.hnswlib_file import is_hnswlib
from nestvec.inputs.lines import COMPRESSED, is_compressed, read_head, read_lines
from nestvec.inputs.numbers import long_lists, vector_fields
from nestvec.inputs.usearch_file import is_usearch
from nestvec.json_text import parse_json


class Format(Enum):
    """The format of a file; the value is its usual suffix."""

    NPY = ".npy"
    NPZ = ".npz"
    SAFETENSORS = ".safetensors"
    PARQUET = ".parquet"
    ARROW = ".arrow"
    LANCE = ".lance"
    JSON = ".jsonl"
    TSV = ".tsv"
    CSV = ".csv"
    TXT = ".txt"
    FVECS = ".fvecs"
    BVECS = ".bvecs"
    IVECS = ".ivecs"
    FBIN = ".fbin"
    U8BIN = ".u8bin"
    I8BIN = ".i8bin"
    HDF5 = ".hdf5"
    FAISS = ".faiss"
    USEARCH = ".usearch"
    HNSWLIB = ".hnsw"


COLUMNAR = (Format.PARQUET, Format.ARROW, Format.LANCE)
"""Formats of Arrow tables: vectors, texts, or both, in columns of a type each."""

ANN_VECTORS = (
    Format.FVECS, Format.BVECS, Format.IVECS, Format.FBIN, Format.U8BIN, Format.I8BIN,
)  # fmt: skip
"""Formats of benchmarks of nearest-neighbour search, which the name tells alone."""

ANN_FORMATS = (*ANN_VECTORS, Format.HDF5, Format.FAISS, Format.USEARCH, Format.HNSWLIB)
"""Formats of nearest-neighbour search: vectors of benchmarks, and indexes of other libraries."""

ARRAYS = (Format.NPY, Format.NPZ, Format.SAFETENSORS, *COLUMNAR, *ANN_FORMATS)
"""Formats of vectors alone, or of vectors with columns beside them."""

TRANSFORM_LABEL = "nestvec.adapted"
"""Entry of a .safetensors file that names the transform of its vectors: its name in old files."""

TABLES = (Format.TSV, Format.CSV)

_BY_SUFFIX = {
    **{format_.value: format_ for format_ in Format},
    ".ndjson": Format.JSON,
    ".json": Format.JSON,
    ".feather": Format.ARROW,
    ".ipc": Format.ARROW,
    ".h5": Format.HDF5,
    ".hdf": Format.HDF5,
    ".hnswlib": Format.HNSWLIB,
}
_MAGIC = {
    b"\x93NUMPY": Format.NPY,
    b"PK\x03\x04": Format.NPZ,
    b"PAR1": Format.PARQUET,
    b"ARROW1": Format.ARROW,
    b"\xff\xff\xff\xff": Format.ARROW,  # its stream format
    b"FEA1": Format.ARROW,
    HDF5_MAGIC: Format.HDF5,
}
_CROPPED = re.compile(r"\.crop_nb_\d+$")
"""Second suffix of the first rows of a file, as big-ann-benchmarks downloads them."""


def file_format(path: Path) -> Format | None:
    """The format of a file or of the shards of a folder, None if neither content nor name tells.

    The name, in any case and with or without .gz or .zst, tells what the content leaves open: what
    kind of text it is. Lines that are JSON objects with a vector are JSON under any name.
    `DataError` for a content that belies the name, for compressed arrays, and for a folder whose
    shards have several formats.
    """
    if path.is_dir():
        return _folder_format(path)
    named = _BY_SUFFIX.get(suffix_of(path))
    try:
        packed, head = is_compressed(path), read_head(path, FAISS_HEAD_BYTES)
    except OSError:
        return named  # the reader says what is wrong
    except DataError:
        if named in ARRAYS:
            return named
        raise
    content = (None if packed else _index_format(path)) or _array_format(head, named)
    if content is None:
        return _text_format(path, named)
    if packed:
        raise DataError(f"{path} is a compressed {content.value} file; decompress it first")
    if named not in (None, content):
        raise DataError(
            f"{path} is named {suffix_of(path)} but holds the content of a {content.value} file; "
            "rename it"
        )
    return content


def _folder_format(folder: Path) -> Format | None:
    shards = data_files(folder)
    if is_lance(shards[0]):
        return Format.LANCE
    formats = {file_format(shard): shard.name for shard in shards}
    if len(formats) == 1:
        return next(iter(formats))
    names = " and ".join(repr(name) for name in list(formats.values())[:2])
    raise DataError(
        f"{folder} holds {names}, which differ in format; keep one format in a folder, or name a "
        "file"
    )


def suffix_of(path: Path) -> str:
    """The suffix of the format in lower case, before one of a compression."""
    name = _CROPPED.sub("", path.name.lower())
    for packed in COMPRESSED:
        name = name.removesuffix(packed)
    return Path(name).suffix


def names_field(path: Path, field: str) -> bool:
    """True if the file may hold such a field: a .npy has no names, records the first's."""
    format_ = file_format(path)
    if format_ in ARRAYS:
        return format_ in (Format.NPZ, Format.SAFETENSORS, Format.HDF5, *COLUMNAR)
    first = first_json(path) if format_ is Format.JSON else None
    return first is not None and field.partition(".")[0] in first


def first_json(path: Path) -> dict[str, Any] | None:
    """The object on the first line that is not blank, None if there is none."""
    lines = read_lines(data_files(path)[0])
    line = next((text for _, text in lines if text.strip()), "")
    try:
        value = parse_json(line) if line.lstrip().startswith("{") else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _array_format(head: bytes, named: Format | None) -> Format | None:
    for magic, format_ in _MAGIC.items():
        if head.startswith(magic):
            return format_
    if is_faiss(head):
        return Format.FAISS
    if named in ANN_VECTORS:
        return named  # their first numbers may look like anything
    # Eight bytes of a length that no text begins with (four of them are zero), then JSON.
    if head[8:9] == b"{" and head[4:8] == bytes(4):
        return Format.SAFETENSORS
    return None


def _index_format(path: Path) -> Format | None:
    """The format of an index of another library, if its numbers and the file's size agree."""
    if is_hnswlib(path):
        return Format.HNSWLIB
    return Format.USEARCH if is_usearch(path) else None


def _text_format(path: Path, named: Format | None) -> Format | None:
    if named in ARRAYS or named is Format.JSON:
        return named  # the reader of arrays says that these are none
    try:
        first = first_json(path)
    except DataError:
        return named
    if first is None:
        return named
    return Format.JSON if named is None or vector_fields(first) or long_lists(first) else named
