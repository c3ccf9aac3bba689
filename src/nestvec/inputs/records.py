"""Records of text files: JSON lines and arrays, TSV, CSV, and plain lines."""

import csv
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from nestvec.errors import DataError
from nestvec.inputs.api_replies import expand
from nestvec.inputs.arrow_tables import open_table
from nestvec.inputs.folders import data_files, place_in
from nestvec.inputs.formats import ARRAYS, COLUMNAR, TABLES, Format, file_format, suffix_of
from nestvec.inputs.lines import read_lines
from nestvec.inputs.numbers import vector_fields, without_field
from nestvec.json_text import parse_json

Record = dict[str, Any]

_log = logging.getLogger(__name__)

_QUOTE = re.compile(r'(?:^|\t)"')
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_QUOTED_WITH_QUOTES = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_LONGEST_FIELD = 2**31 - 1


def holds_vectors(
    path: Path, key: str | None = None, text_columns: str | Sequence[str] | None = None
) -> bool:
    """True if a command should read vectors from a file, False if it should encode texts.

    `key`, the field of the vectors, decides; then `text_columns`, the texts to encode. Without
    both, files of arrays hold vectors, and records do where the first has a field of a vector.
    Errors of reading are left to the reader.
    """
    if key is not None:
        return True
    try:
        format_ = file_format(path)
        if format_ in COLUMNAR:
            return not text_columns and bool(table_vectors(path))
        if format_ in ARRAYS:
            return True
        if format_ is None or text_columns:
            return False
        return any(bool(vector_fields(record)) for _, record in islice(read_records(path), 1))
    except DataError:
        return False


def read_records(path: Path) -> Iterator[tuple[str, Record]]:
    """Places, such as `line 3`, and records of a file; every failure is a `DataError`.

    - JSON: one object a line, or an array of objects. Replies of embedding APIs and OpenAI's batch
      output are taken apart into one record per vector.
    - TSV: a header line; fields separated by tabs, quoted as in a CSV where the file does that.
    - CSV: a header line; fields separated by commas, quoted where needed.
    - TXT: one text a line; the id is the line number, from 0.
    - Parquet, Arrow and Lance: a record a row, with the columns as fields.

    Blank lines are skipped. The shards of a folder are read by name as if they were one file.
    Tables must have the same columns there, and plain lines have no ids.
    """
    format_ = file_format(path)
    if format_ is None or format_ not in _READERS:
        raise DataError(
            f"{path} ends in {suffix_of(path) or 'no suffix'}; nestvec reads "
            f"{', '.join(format_.value for format_ in _READERS)}, each also as .gz or .zst"
        )
    return _in_shards(path, _READERS[format_], format_)


def _in_shards(
    path: Path, reader: Callable[[Path], Iterator[tuple[str, Record]]], format_: Format
) -> Iterator[tuple[str, Record]]:
    """Read the records of a file, or of the shards of a folder one after the other."""
    header: list[str] | None = None
    for shard in data_files(path):
        for place, record in reader(shard):
            if shard != path and format_ is Format.TXT:
                record.pop("_id")  # the number of a line is unique in one file only
            if format_ in (*TABLES, *COLUMNAR):
                header = header or list(record)
                _check_header(path, shard, record, header)
            yield place_in(path, shard, place), record


def _check_header(path: Path, shard: Path, record: Record, header: list[str]) -> None:
    if record.keys() != set(header):
        raise DataError(
            f"{shard.name} in {path} has the columns {listed(record)}, and the files before it "
            f"{listed(header)}; give all shards the same columns"
        )


def read_tsv(path: Path) -> Iterator[tuple[str, Record]]:
    """Read the records of a TSV, whatever its name."""
    if _is_quoted(path):
        return _table(path, _csv_rows(path, "\t"))
    return _table(
        path, ((line, text.rstrip("\r\n").split("\t")) for line, text in read_lines(path))
    )


def _is_quoted(path: Path) -> bool:
    """Tell whether a TSV quotes fields as a CSV does.

    That takes a sign (a header in quotes, a field in quotes with doubled quotes inside, or lines
    whose number of fields only quotes explain), and a whole file without a contradiction. A text in
    quotes is literal otherwise.
    """
    width = n_lines = 0
    is_even, has_sign, has_quotes = True, False, False
    for _, text in read_lines(path):
        line = text.rstrip("\r\n")
        if line:
            fields = line.split("\t")
            width = width or len(fields)
            is_even = is_even and len(fields) == width
            has_quotes = has_quotes or _QUOTE.search(line) is not None
            sign = _QUOTED if not n_lines else _QUOTED_WITH_QUOTES
            has_sign = has_sign or any(sign.fullmatch(field) for field in fields)
            n_lines += 1
    if not has_quotes or not (has_sign or not is_even):
        return False
    rows = _csv_reader((text for _, text in read_lines(path)), "\t")
    try:
        widths = [len(fields) for fields in rows if fields]
    except csv.Error:
        return False
    # Where lines are rows already, quotes that join lines are no quotes of fields.
    return set(widths) == {width} and (not is_even or len(widths) == n_lines)


def _csv_reader(lines: Iterable[str], delimiter: str) -> Any:
    # A setting of the whole process; raised only, because documents may be long.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    return csv.reader(lines, delimiter=delimiter, strict=True)


def listed(columns: Iterable[str]) -> str:
    """Names for a message."""
    return ", ".join(map(repr, columns))


def _read_json(path: Path) -> Iterator[tuple[str, Record]]:
    read = _json_array(path) if _is_whole(path) else _json_lines(path)
    for place, record in read:
        for first_record in expand(f"{path}, {place}", record):
            yield place, first_record


def _is_whole(path: Path) -> bool:
    """True for one JSON value over several lines, and for an array of objects."""
    first = next((text for _, text in read_lines(path) if text.strip()), "").strip()
    try:
        value = parse_json(first)
    except ValueError:
        return first.startswith("[") or (first.startswith("{") and suffix_of(path) == ".json")
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _json_array(path: Path) -> Iterator[tuple[str, Record]]:
    try:
        value = parse_json("".join(text for _, text in read_lines(path)))
    except ValueError as e:
        raise DataError(f"{path} is not JSON ({e}); write one object a line") from None
    for number, record in enumerate(value if isinstance(value, list) else [value], 1):
        place = f"record {number}"
        _check_surrogates(path, place, record)
        yield place, _object(path, place, record)


def _json_lines(path: Path) -> Iterator[tuple[str, Record]]:
    for line, text in read_lines(path):
        if not text.strip():
            continue
        try:
            record = parse_json(text)
        except ValueError as e:
            raise DataError(
                f"{path}, line {line} is not JSON ({e}); write one object a line"
            ) from None
        if _SURROGATE.search(text):
            _check_surrogates(path, f"line {line}", record)
        yield f"line {line}", _object(path, f"line {line}", record)


def _check_surrogates(path: Path, place: str, record: Any) -> None:
    """Raise `DataError` for half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError as e:
        raise DataError(
            f"{path}, {place} holds the escape \\u{ord(e.object[e.start]):04x}, half of a "
            "surrogate pair, which is no character; remove it"
        ) from None


def _object(path: Path, place: str, record: Any) -> Record:
    if isinstance(record, dict) and record:
        return record
    raise DataError(
        f"{path}, {place} is not a JSON object but {json.dumps(record)[:40]!r}; write one such as "
        '{"_id": "1", "text": "…"} or {"id": "1", "vector": [0.1, 0.2]}'
    )


def _read_txt(path: Path) -> Iterator[tuple[str, Record]]:
    for line, text in read_lines(path):
        if text.strip():
            yield f"line {line}", {"_id": line - 1, "text": text.rstrip("\r\n")}


def _read_csv(path: Path) -> Iterator[tuple[str, Record]]:
    return _table(path, _csv_rows(path, ","))


def _csv_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    # Strict: an open quote is an error, not a field that swallows the rest of the file.
    reader = _csv_reader((text for _, text in read_lines(path)), delimiter)
    try:
        for fields in reader:
            yield reader.line_num, fields
    except csv.Error as e:
        raise DataError(
            f"{path}, line {reader.line_num} is not CSV ({e}); mend the quotes or use .jsonl"
        ) from None


def _table(path: Path, rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[str, Record]]:
    """Records of a table whose first row names the columns."""
    _, header = next(rows, (0, []))
    if len(set(header)) < len(header):
        raise DataError(f"{path} names a column twice: {listed(header)}; column names are unique")
    for line, fields in rows:
        if fields in ([], [""]):
            continue
        if len(fields) != len(header):
            raise DataError(
                f"{path}, line {line} has {len(fields)} fields but the header names "
                f"{len(header)}: {listed(header)}"
            )
        yield f"line {line}", dict(zip(header, fields, strict=True))


def table_vectors(path: Path) -> list[str]:
    """Name the columns of an Arrow table that are lists of numbers."""
    with open_table(data_files(path)[0]) as table:
        return table.vector_columns()


def read_table_rows(path: Path, without: Sequence[str] = ()) -> Iterator[tuple[str, Record]]:
    """Read the rows of an Arrow table, or of the shards of one, but for some columns."""
    return _in_shards(path, lambda shard: _read_table(shard, without), Format.ARROW)


def _read_table(path: Path, without: Sequence[str] = ()) -> Iterator[tuple[str, Record]]:
    with open_table(path) as table:
        binary = table.binary_columns()
        if binary:
            _log.warning("%s: %s hold bytes and are not read", path, listed(binary))
        names = [name for name in table.schema.names if name not in (*without, *binary)]
        nested = [name for name in without if name not in table.schema.names]
        # A batch without columns has no rows, so one column counts them.
        batches = table.batches(names or table.schema.names[:1])
        records = chain.from_iterable(batch.to_pylist() for batch in batches)
        for row, record in enumerate(records):
            for name in nested:
                record = without_field(record, name)
            yield f"row {row}", record if names else {}


_READERS: dict[Format, Callable[[Path], Iterator[tuple[str, Record]]]] = {
    Format.JSON: _read_json,
    Format.TSV: read_tsv,
    Format.CSV: _read_csv,
    Format.TXT: _read_txt,
    **dict.fromkeys(COLUMNAR, _read_table),
}
