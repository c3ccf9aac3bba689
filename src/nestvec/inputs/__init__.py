"""Files that people bring: their format by content, and their records one by one."""

from nestvec.inputs.formats import ARRAYS, COLUMNAR, Format, file_format, names_field
from nestvec.inputs.lines import read_lines
from nestvec.inputs.numbers import long_lists, row_of, vector_fields
from nestvec.inputs.records import Record, holds_vectors, read_records

__all__ = [
    "ARRAYS",
    "COLUMNAR",
    "Format",
    "Record",
    "file_format",
    "holds_vectors",
    "long_lists",
    "names_field",
    "read_lines",
    "read_records",
    "row_of",
    "vector_fields",
]
