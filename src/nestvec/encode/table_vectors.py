"""Vectors in a column of an Arrow table, read batch by batch."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.encode.stacking import stack_on_disk
from nestvec.errors import DataError
from nestvec.extras import require
from nestvec.inputs.arrow_tables import ArrowTable


class NoRowsError(DataError):
    """A table has columns but no rows, as some shards do that Spark writes."""


def read_column(
    path: Path,
    table: ArrowTable,
    name: str,
    id_name: str | None,
    check: Callable[[np.ndarray, str], np.ndarray],
) -> tuple[np.ndarray, list[Any] | None]:
    """Read a column of equally long lists as vectors [n, dim], and the ids in another.

    The vectors are a memory map of a temporary file, so that a table may be larger than memory;
    `check` takes each batch of them. `DataError` names the first row without a vector or with one
    of another width.
    """
    ids: list[Any] = []
    others = [] if id_name is None else [id_name]

    def blocks() -> Iterator[tuple[Path, np.ndarray]]:
        width, n_rows = None, 0
        for column, columns_of_ids in table.column_batches(name, others):
            if len(column):
                rows = _rows(path, name, column, n_rows, width)
                width, n_rows = rows.shape[1], n_rows + len(rows)
                for column_of_ids in columns_of_ids:
                    ids.extend(column_of_ids.to_pylist())
                yield path, check(rows, f"{name!r} in '{path}'")
        if not n_rows:
            raise NoRowsError(f"'{path}' has no rows; write the file again")

    vectors = stack_on_disk(blocks())
    return vectors, None if id_name is None else ids


def _rows(path: Path, name: str, column: Any, first_row: int, width: int | None) -> np.ndarray:
    """One batch of a column as an array, as it lies in memory."""
    compute = require("pyarrow.compute", "parquet")
    widths = compute.list_value_length(column)
    width = width or widths[0].as_py()
    lengths = set(compute.unique(widths).to_pylist())
    if lengths != {width} or width is None:
        all_widths = widths.to_pylist()
        row = next(i for i, each in enumerate(all_widths) if each is None or each != width)
        wrong = all_widths[row]
        problem = "no vector" if wrong is None else f"{wrong} numbers, others {width}"
        raise DataError(
            f"row {first_row + row} of {name!r} in '{path}' has {problem}; leave that row out, or "
            "mend it"
        )
    values = column.flatten()
    if values.null_count:
        raise DataError(f"{name!r} in '{path}' has missing values inside its vectors")
    array: np.ndarray = values.to_numpy(zero_copy_only=False).reshape(len(column), width)
    return array
