"""Rows of relevance judgments, in the formats that people have: BEIR, TREC, CSV, JSON lines."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nestvec.errors import DataError
from nestvec.inputs.formats import suffix_of
from nestvec.inputs.lines import read_lines
from nestvec.json_text import parse_json

_QUERY = {"query-id", "query", "qid", "q-id", "queryid", "topic"}
_DOCUMENT = {
    "corpus-id", "document-id", "doc-id", "docid", "document", "doc", "docno", "pid", "passage-id",
    "did",
}  # fmt: skip
_GRADE = {"score", "grade", "relevance", "rel", "label", "relevant"}
_FORMS = (
    "rows are query, document; query, document, grade; or TREC's query, iteration, document, grade"
)


class JudgmentRow(NamedTuple):
    """One judgment as it is written; without a grade it is 1."""

    place: str
    query: str
    document: str
    grade: str


def read_judgment_rows(path: Path) -> Iterator[JudgmentRow]:
    """Read judgments, with or without a first row that names the columns.

    Columns are separated by tabs, else by commas in a .csv, else by spaces. `DataError` names the
    line that does not fit.
    """
    if suffix_of(path) in (".jsonl", ".ndjson", ".json"):
        yield from _json_rows(path)
        return
    rows = _cells(path)
    first = next(rows, None)
    if first is None:
        return
    columns = _columns([_name(cell) for cell in first[1]])
    if columns is None:
        yield _by_place(path, *first)
    width = len(first[1])
    for line, cells in rows:
        if columns is None:
            yield _by_place(path, line, cells)
        elif len(cells) != width:
            raise DataError(
                f"{path}, line {line} has {len(cells)} fields but the header names {width}"
            )
        else:
            query, document, grade = columns
            grade_cell = "1" if grade is None else cells[grade]
            yield JudgmentRow(f"line {line}", cells[query], cells[document], grade_cell)


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Divide the lines that hold anything; a separator at the end of a line separates nothing."""
    separator: str | None = None
    is_csv = suffix_of(path) == ".csv"
    for line, text in read_lines(path):
        stripped = text.strip("\r\n").rstrip("\t ")
        if not stripped.strip():
            continue
        if separator is None:
            separator = "\t" if "\t" in stripped else "," if is_csv else " "
        if separator == ",":
            cells = next(csv.reader([stripped]))
        else:
            cells = stripped.split("\t") if separator == "\t" else stripped.split()
        yield line, [cell.strip() for cell in cells]


def _name(cell: str) -> str:
    return cell.strip().lower().replace("_", "-").lstrip("-")


def _columns(names: Sequence[str]) -> tuple[int, int, int | None] | None:
    """Find the columns of query, document and grade; None where the row names none."""
    places = [
        next((place for place, name in enumerate(names) if name in known), None)
        for known in (_QUERY, _DOCUMENT, _GRADE)
    ]
    query, document, grade = places
    return None if query is None or document is None else (query, document, grade)


def _by_place(path: Path, line: int, cells: list[str]) -> JudgmentRow:
    place = f"line {line}"
    match cells:
        case [query, document]:
            return JudgmentRow(place, query, document, "1")
        case [query, document, grade]:
            return JudgmentRow(place, query, document, grade)
        case [query, _, document, grade]:
            return JudgmentRow(place, query, document, grade)
    raise DataError(f"{path}, {place} has {len(cells)} fields, and no header names them; {_FORMS}")


def _json_rows(path: Path) -> Iterator[JudgmentRow]:
    for line, text in read_lines(path):
        if not text.strip():
            continue
        try:
            record = parse_json(text)
        except ValueError as e:
            raise DataError(f"{path}, line {line} is not JSON ({e})") from None
        columns = _columns([_name(key) for key in record]) if isinstance(record, Mapping) else None
        if columns is None:
            raise DataError(
                f"{path}, line {line} names no query and document; write one such as "
                '{"query-id": "q1", "corpus-id": "d7", "score": 1}'
            )
        values: list[Any] = list(record.values())
        query, document, grade = columns
        grade_text = "1" if grade is None else str(values[grade])
        yield JudgmentRow(f"line {line}", str(values[query]), str(values[document]), grade_text)
