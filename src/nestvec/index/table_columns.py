"""Columns of a table in memory that become the vectors, ids, texts and metadata of an index."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.errors import InputError
from nestvec.extras import require
from nestvec.inputs import COLUMNAR, file_format
from nestvec.inputs.arrow_tables import open_table
from nestvec.inputs.column_roles import ID_COLUMNS
from nestvec.inputs.folders import data_files
from nestvec.vectors import as_array

TEXT_COLUMN = "text"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class TableColumns:
    """The rows of a table: vectors [n, dim], and ids, texts and metadata where it has some."""

    vectors: np.ndarray
    ids: Sequence[Any] | None
    texts: Sequence[str | None] | None
    metadata: Sequence[Mapping[str, Any]] | None
    columns: Mapping[str, Any]
    """The record of the columns, as in `IndexOptions`."""


def read_table(
    table: Any,
    vector_column: str | None,
    id_column: str | None,
    text_column: str | None,
    metadata_columns: Sequence[str] | None,
) -> TableColumns:
    """Split a table by its columns; `InputError` for columns that it lacks or that are ambiguous.

    Tables are what Arrow's stream protocol reads (pandas, Polars, Arrow, DuckDB), mappings of
    columns, data sets of Hugging Face, and the paths of .parquet, Arrow and Lance files or folders.
    """
    arrow = _as_arrow(table)
    names = [name for name in arrow.column_names if not name.startswith("__index_level_")]
    chosen = [vector_column, id_column, text_column, *(metadata_columns or ())]
    for name in chosen:
        if name is not None and name not in names:
            raise InputError(f"the table has no column {name!r}; it has {', '.join(names)}")
    vectors = vector_column or _vector_column(arrow, names, chosen)
    usual = [name for name in names if name != vectors and name not in (metadata_columns or ())]
    ids = id_column or next((name for name in (*ID_COLUMNS, "doc_id") if name in usual), None)
    texts = text_column or (TEXT_COLUMN if TEXT_COLUMN in usual else None)
    rest = [name for name in names if name not in (vectors, ids, texts)]
    metadata = rest if metadata_columns is None else list(metadata_columns)
    _log.info(
        "vectors are the column %r; ids %s; texts %s; metadata %s",
        vectors, ids or "row numbers", texts or "none", ", ".join(metadata) or "none",
    )  # fmt: skip
    columns = [[_plain(value) for value in arrow[name].to_pylist()] for name in metadata]
    records = [dict(zip(metadata, row, strict=True)) for row in zip(*columns, strict=True)]
    return TableColumns(
        _vectors(arrow[vectors], f"vectors of the column {vectors!r}"),
        None if ids is None else arrow[ids].to_pylist(),
        None if texts is None else arrow[texts].to_pylist(),
        records if metadata else None,
        {
            "text": [] if texts is None else [texts],
            "id": ids,
            "metadata": None if metadata_columns is None else metadata,
        },
    )


def _as_arrow(table: Any) -> Any:
    pyarrow = require("pyarrow", "parquet")
    if isinstance(table, str | os.PathLike):
        return _read_file(Path(table))
    if not hasattr(table, "__arrow_c_stream__") and hasattr(table, "with_format"):
        table = table.with_format("arrow")[:]  # a data set of Hugging Face
    protocols = ("__arrow_c_stream__", "__arrow_c_array__")
    if not isinstance(table, Mapping) and not any(hasattr(table, name) for name in protocols):
        raise InputError(
            f"a {type(table).__name__} is no table; pass a data frame, an Arrow table or a mapping "
            "of columns (collect() a lazy one)"
        )
    try:
        return pyarrow.table(table)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as e:
        raise InputError(
            f"the table cannot be read ({' '.join(str(e).split())}); give each column one type"
        ) from e


def _read_file(path: Path) -> Any:
    if file_format(path) not in COLUMNAR:
        known = ", ".join(format_.value for format_ in COLUMNAR)
        raise InputError(f"{path} is no table of {known}; nestvec index reads other files")
    tables = []
    for shard in data_files(path):
        with open_table(shard) as table:
            tables.append(table.read(table.schema.names))
    return require("pyarrow", "parquet").concat_tables(tables, promote_options="permissive")


def _vector_column(arrow: Any, names: Sequence[str], chosen: Sequence[str | None]) -> str:
    """Find the one column of equally long lists of numbers; lists of floats come first."""
    types = require("pyarrow", "parquet").types
    lists = [name for name in names if name not in chosen and _is_list(types, arrow[name].type)]
    floats = [name for name in lists if types.is_floating(arrow[name].type.value_type)]
    integers = [name for name in lists if types.is_integer(arrow[name].type.value_type)]
    for candidates in (floats, integers):
        equal = [name for name in candidates if _width(arrow[name]) is not None] or candidates
        if len(equal) == 1:
            return equal[0]
        if equal:
            raise InputError(
                f"the columns {', '.join(map(repr, equal))} hold lists of numbers; name the "
                f"vectors with vector_column={equal[0]!r} or another"
            )
    raise InputError(
        f"none of the columns {', '.join(map(repr, names))} holds lists of numbers; "
        "name the vectors with vector_column="
    )


def _is_list(types: Any, kind: Any) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _width(column: Any) -> int | None:
    """The length of the lists of a column; None where they differ or one is missing."""
    compute = require("pyarrow.compute", "parquet")
    lengths = set(compute.unique(compute.list_value_length(column)).to_pylist())
    width = lengths.pop() if len(lengths) == 1 else None
    return None if width is None else int(width)


def _vectors(column: Any, name: str) -> np.ndarray:
    types = require("pyarrow", "parquet").types
    width = _width(column) if _is_list(types, column.type) else None
    if not width:
        return as_array(column, name)  # which says what is wrong, and in which row
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return as_array(np.concatenate(parts).reshape(-1, width), name)


def _plain(value: Any) -> Any:
    """Dates and times as text, as JSON has none."""
    return value.isoformat() if hasattr(value, "isoformat") else value
