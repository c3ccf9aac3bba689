"""The columns of records by their roles: which are the text, the id and the metadata of a row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nestvec.errors import DataError, IdsError
from nestvec.inputs.formats import Format, file_format
from nestvec.inputs.records import Record, listed

Id = int | str

ID_COLUMNS = ("_id", "id")
BODY_COLUMNS = ("text", "abstract")


@dataclass(frozen=True, slots=True)
class ColumnRoles:
    """The columns of a file by their roles: those of the text, of the id, and of the metadata.

    `text` has those columns that are joined to the text and occur in the file.
    """

    text: tuple[str, ...] = ()
    id: str | None = None
    metadata: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = (
            f"text: {' + '.join(self.text)}" if self.text else "no text",
            "ids are row numbers" if self.id is None else f"id: {self.id}",
            f"metadata: {', '.join(self.metadata)}" if self.metadata else "no metadata",
        )
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """The columns to read as text, id and metadata; None for the usual ones, and for all others."""

    text: Sequence[str] | None = None
    id: str | None = None
    metadata: Sequence[str] | None = None
    is_recorded: bool = False
    """True where an index records them: texts beside vectors may be missing then."""

    def completed(self, recorded: Mapping[str, Any] | None) -> "ColumnChoice":
        """Complete the choice by the columns that an index records of its rows."""
        if recorded is None:
            return self
        return ColumnChoice(
            self.text or recorded["text"] or None,
            self.id or recorded["id"],
            recorded["metadata"] if self.metadata is None else self.metadata,
            is_recorded=not self.text,
        )

    def record(self, roles: ColumnRoles) -> dict[str, Any]:
        """Record the columns that were read, for rows that are read later."""
        metadata = None if self.metadata is None else list(self.metadata)
        return {"text": list(roles.text), "id": roles.id, "metadata": metadata}


USUAL_COLUMNS = ColumnChoice()


@dataclass(frozen=True, slots=True)
class ColumnSplitter:
    """The columns of a file that are the text and the id."""

    text: tuple[str, ...]
    id: str | None
    named: bool
    """True where the columns of text are not the usual ones but named."""
    need_text: bool
    """False where a row without a text has the text ""."""
    seen: set[str] = field(default_factory=set)
    """The columns of text that some row had; `split` adds to it."""

    @classmethod
    def choose(
        cls,
        path: Path,
        record: Record,
        choice: ColumnChoice,
        *,
        need_text: bool = True,
    ) -> "ColumnSplitter":
        """Choose the named columns, or the usual ones for None; `record` is the file's first."""
        named = tuple(choice.text or ())
        if choice.is_recorded and not need_text and not record.keys() & set(named):
            return cls((), choice.id or _usual_id(record), False, False)
        for column in (*named, *([choice.id] if choice.id is not None else ())):
            # A later object of JSON may have a column that the first lacks.
            if column not in record and file_format(path) is not Format.JSON:
                hint = ""
                if choice.is_recorded and column in named:
                    joined = " + ".join(named)
                    hint = f"; texts of the index are {joined}: name others with --text-column"
                raise DataError(f"{path} has no column {column!r}; it has {listed(record)}{hint}")
        text = named or _usual_text(record)
        if need_text and not text:
            raise DataError(
                f"{path} has none of the usual text columns (title, text, abstract); "
                f"name the text column: it has {listed(record)}"
            )
        return cls(text, choice.id or _usual_id(record), bool(named), need_text)

    def split(self, path: Path, place: str, record: Record, row: int) -> tuple[Id, str, Record]:
        """One record as id, text and metadata."""
        nested = record.get("metadata")
        rest = {k: v for k, v in record.items() if k != self.id and k not in self.text}
        if isinstance(nested, dict) and "metadata" in rest:
            del rest["metadata"]
            rest = {**nested, **rest}
        return self._id(path, place, record, row), self._text(path, place, record), rest

    def _id(self, path: Path, place: str, record: Record, row: int) -> Id:
        if self.id is None:
            return row
        id_: Any = record.get(self.id)
        if id_ is None or id_ == "":
            raise IdsError(f"{path}, {place} has no {self.id!r}; every row needs an id")
        if type(id_) not in (int, str):
            raise IdsError(f"{path}, {place} has the id {id_!r}; ids are integers or strings")
        checked: Id = id_
        return checked

    def _text(self, path: Path, place: str, record: Record) -> str:
        present = [column for column in self.text if record.get(column) is not None]
        self.seen.update(present)
        if self.text and self.need_text and not present:
            raise DataError(
                f"{path}, {place} has no text: none of {listed(self.text)} among {listed(record)}"
            )
        for column in present:
            if not isinstance(record[column], str):
                raise DataError(
                    f"{path}, {place} has {record[column]!r} as text; texts are strings"
                )
        return " ".join(record[column] for column in present if record[column])

    def roles(self, path: Path, metadata: Iterable[Mapping[str, Any]]) -> ColumnRoles:
        """The roles of the columns, once all rows are split into ids, texts and metadata."""
        unseen = [column for column in self.text if column not in self.seen]
        if self.named and unseen:
            raise DataError(f"no row of {path} has a text in {listed(unseen)}; check the names")
        text = tuple(column for column in self.text if column in self.seen)
        is_lines = file_format(path) is Format.TXT  # its ids are the numbers of lines
        return ColumnRoles(text, None if is_lines else self.id, tuple(_names(metadata)))


def _usual_text(record: Record) -> tuple[str, ...]:
    body = tuple(column for column in BODY_COLUMNS if column in record)[:1]
    # `title` even where the first record lacks it: in JSON a later one may have it.
    return ("title", *body) if body or "title" in record else ()


def _usual_id(record: Record) -> str | None:
    for column in ID_COLUMNS:
        if column in record:
            return column
    first = next(iter(record), "")
    return first if first.endswith("_id") else None


def select_metadata(
    path: Path, metadata: Sequence[Record], columns: Sequence[str] | None
) -> Sequence[Record]:
    """Keep the metadata of some columns; `DataError` for one that no row has."""
    if columns is None:
        return metadata
    present = _names(metadata)
    for column in columns:
        if column not in present:
            raise DataError(f"{path} has no metadata {column!r}; it has {listed(present)}")
    return [{name: row[name] for name in columns if name in row} for row in metadata]


def _names(records: Iterable[Mapping[str, Any]]) -> dict[str, None]:
    """The names of all fields, in the order of their first occurrence."""
    return {name: None for record in records for name in record}
