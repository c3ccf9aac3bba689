"""Arrow tables in files: .parquet files, Arrow and Feather files, and data sets of Lance."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestvec.errors import DataError
from nestvec.extras import require
from nestvec.inputs.formats import Format, file_format
from nestvec.inputs.numbers import is_list_of_numbers

_FEATHER_1 = b"FEA1"
_STREAM = b"\xff\xff\xff\xff"


@dataclass(frozen=True, slots=True, eq=False)
class ArrowTable:
    """A table in a file: its schema, and its rows batch by batch."""

    schema: Any
    batches: Callable[[Sequence[str]], Iterator[Any]]
    """Read the record batches of some columns."""

    def vector_columns(self) -> list[str]:
        """Name the columns that may be the vectors; fields of structures only if there are none."""
        lists = self.number_lists()
        return [path for path in lists if path in self.schema.names] or lists

    def number_lists(self) -> list[str]:
        """Name the columns that are lists of numbers; fields of structures as `outer.inner`."""
        types = require("pyarrow", "parquet").types
        return [path for path, kind in _fields(self.schema, "") if is_list_of_numbers(types, kind)]

    def binary_columns(self) -> list[str]:
        """Name the columns that hold bytes, alone or within structures and lists."""
        types = require("pyarrow", "parquet").types
        return [field.name for field in self.schema if _holds_bytes(types, field.type)]

    def column_batches(self, path: str, others: Sequence[str]) -> Iterator[tuple[Any, list[Any]]]:
        """Read a column, which may be a field `outer.inner`, with others, batch by batch."""
        is_nested = path not in self.schema.names
        root = path.partition(".")[0] if is_nested else path
        compute = require("pyarrow.compute", "parquet")
        for batch in self.batches(list(dict.fromkeys([root, *others]))):
            column = batch.column(root)
            if is_nested:
                column = compute.struct_field(column, path.split(".")[1:])
            # A tensor of Arrow is a list with a shape.
            column = getattr(column, "storage", column)
            yield column, [batch.column(name) for name in others]

    def read(self, columns: Sequence[str]) -> Any:
        """Read some columns of all rows, as a table of Arrow."""
        pyarrow = require("pyarrow", "parquet")
        schema = pyarrow.schema([self.schema.field(name) for name in columns])
        return pyarrow.Table.from_batches(self.batches(columns), schema)


def _fields(fields: Iterable[Any], prefix: str) -> Iterator[tuple[str, Any]]:
    types = require("pyarrow", "parquet").types
    for field in fields:
        path = f"{prefix}{field.name}"
        if types.is_struct(field.type):
            yield from _fields(field.type, f"{path}.")
        else:
            yield path, field.type


def _holds_bytes(types: Any, kind: Any) -> bool:
    if types.is_struct(kind) or types.is_list(kind) or types.is_large_list(kind):
        return any(_holds_bytes(types, kind.field(i).type) for i in range(kind.num_fields))
    tests = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    return any(test(kind) for test in (*tests, types.is_binary_view))


@contextmanager
def open_table(path: Path) -> Iterator[ArrowTable]:
    """Open a table for reading; every failure is a `DataError`."""
    format_ = file_format(path)
    assert format_ in _OPENERS, "callers ask for the formats of tables alone"
    arrow_error = require("pyarrow", "parquet").ArrowException
    if not path.exists():
        raise DataError(f"there is no file '{path}'; check the path")
    try:
        with _OPENERS[format_](path) as table:
            yield table
    except (OSError, ValueError, arrow_error) as e:
        if isinstance(e, DataError):
            raise
        message = " ".join(str(e).split())
        raise DataError(
            f"'{path}' cannot be read as {format_.value} ({message}); write the file again"
        ) from e


@contextmanager
def _open_parquet(path: Path) -> Iterator[ArrowTable]:
    parquet = require("pyarrow.parquet", "parquet")
    with parquet.ParquetFile(path) as file:
        yield ArrowTable(file.schema_arrow, lambda names: file.iter_batches(columns=list(names)))


@contextmanager
def _open_arrow(path: Path) -> Iterator[ArrowTable]:
    """Open a file of Arrow's IPC format, which Feather is too, or of its stream format."""
    pyarrow = require("pyarrow", "parquet")
    ipc = require("pyarrow.ipc", "parquet")
    with path.open("rb") as file:
        head = file.read(len(_STREAM))
    if head == _FEATHER_1:
        raise DataError(f"{path} is a Feather file of version 1; write it again as version 2")
    with pyarrow.memory_map(str(path)) as source:
        is_stream = head == _STREAM
        reader = ipc.open_stream(source) if is_stream else ipc.open_file(source)

        def batches(names: Sequence[str]) -> Iterator[Any]:
            # A stream is read once only, so each pass opens it anew.
            with pyarrow.memory_map(str(path)) as again:
                opened = ipc.open_stream(again) if is_stream else ipc.open_file(again)
                count = range(0 if is_stream else opened.num_record_batches)
                for batch in opened if is_stream else map(opened.get_batch, count):
                    yield batch.select(list(names))

        yield ArrowTable(reader.schema, batches)


@contextmanager
def _open_lance(path: Path) -> Iterator[ArrowTable]:
    dataset = require("lance", "lance").dataset(str(path))
    yield ArrowTable(dataset.schema, lambda names: dataset.to_batches(columns=list(names)))


_OPENERS: dict[Format, Callable[[Path], AbstractContextManager[ArrowTable]]] = {
    Format.PARQUET: _open_parquet,
    Format.ARROW: _open_arrow,
    Format.LANCE: _open_lance,
}
