"""Texts, queries and relevance judgments, read from files and checked row by row.

The formats are those of `nestvec.inputs.records`; a JSON object is as in BEIR:
`{"_id": …, "title": …, "text": …, "metadata": {…}}`. Empty texts stay, because test collections
have such documents, and rows must match those of vectors in other files.
"""

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from nestvec.errors import DataError, IdsError, InputError
from nestvec.inputs.formats import TABLES, Format, file_format
from nestvec.inputs.judgment_rows import read_judgment_rows
from nestvec.inputs.numbers import long_lists, vector_fields, without_field
from nestvec.inputs.records import (
    Record,
    listed,
    parquet_vectors,
    read_parquet_rows,
    read_records,
    read_tsv,
)
from nestvec.table import typed

Id = int | str

ID_COLUMNS = ("_id", "id")
BODY_COLUMNS = ("text", "abstract")
TRIPLET_COLUMNS = ("query-id", "positive-id", "negative-id")
UNLABELLED = "unlabelled"
"""Kind of a hard negative whose kind is not recorded."""

_log = logging.getLogger("nestvec.data")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts in a fixed order, each with a unique id (all integers or all strings) and metadata."""

    ids: tuple[Id, ...]
    texts: tuple[str, ...]
    metadata: tuple[Mapping[str, Any], ...]

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.texts) == len(self.metadata):
            raise DataError(
                f"{len(self.ids)} ids, {len(self.texts)} texts and {len(self.metadata)} metadata "
                "do not make rows; give one of each per row"
            )
        _check_ids(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """A corpus, queries, and judgments: query id -> document id -> grade (above 0 = relevant).

    Every query has a relevant document, and the judgments name only queries and documents here.
    """

    corpus: Corpus
    queries: Corpus
    qrels: Mapping[Id, Mapping[Id, float | int]]

    def __post_init__(self) -> None:
        documents = set(self.corpus.ids)
        for query, grades in self.qrels.items():
            for doc in grades:
                if doc not in documents:
                    raise DataError(
                        f"query {query!r} is judged against document {doc!r}, which is not in the "
                        "corpus and could never be found; remove the judgment or add the document"
                    )
        for query in self.queries.ids:
            if not _has_relevant(self.qrels.get(query, {})):
                raise DataError(f"query {query!r} has no relevant document; leave it out")
        unknown = self.qrels.keys() - set(self.queries.ids)
        if unknown:
            raise DataError(f"the judgments name {min(unknown, key=str)!r}, which is no query")


def read_texts(
    path: str | os.PathLike[str],
    text_columns: str | Sequence[str] | None = None,
    id_column: str | None = None,
    limit: int | None = None,
    *,
    refuse_vectors: bool = False,
) -> Corpus:
    """The first `limit` texts of a file (all by default), with their ids and metadata.

    Without `text_columns` the text is `title` and then `text` (or else `abstract`), those that
    there are; several columns are joined with one space, as BEIR does. Without `id_column` the id
    is `_id`, or `id`, or a first column named `…_id`, or else the row number from 0. All other
    columns become metadata, and the entries of a `metadata` object stand beside them. Those of a
    table are numbers where all of a column are (`nestvec.table.typed`); an empty field is None.
    With `refuse_vectors` a record that holds a vector beside its text is an error: texts that are
    about to be encoded may have been encoded before.

    Raises `DataError` for a file that is not what its name says and `IdsError` for ids that are
    repeated or missing.
    """
    path = Path(path)
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit} reads nothing; use limit >= 1, or None for all texts")
    records: Iterator[tuple[str, Record]] = islice(read_records(path), limit)
    if refuse_vectors:
        records = _without_vectors(path, records)
    first = next(records, None)
    if first is None:
        raise DataError(f"{path} holds no texts; the file is empty or has only a header")
    columns = _Columns.choose(path, first[1], text_columns, id_column)
    rows = zip(count(), chain([first], records))
    read = [columns.split(path, place, record, row) for row, (place, record) in rows]
    ids, texts, metadata = zip(*read, strict=True)
    try:
        return Corpus(ids, texts, _typed(path, metadata))
    except IdsError as e:
        raise IdsError(f"{path}: {e}") from None


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns beside vectors, one entry per row; None for those that the file lacks."""

    ids: list[Any] | None
    texts: list[str] | None
    metadata: Sequence[Mapping[str, Any]] | None


def read_columns_beside(
    path: str | os.PathLike[str],
    vector_field: str | None = None,
    text_columns: str | Sequence[str] | None = None,
    id_column: str | None = None,
    limit: int | None = None,
) -> Columns:
    """Read ids, texts and metadata of records that hold a vector, in `vector_field` or a usual one.

    Records are those of text files, and the rows of a .parquet file.

    Columns are chosen as in `read_texts`, but there need be no text: a row without one has the
    text "". Ids are as written; they may repeat.
    """
    path = Path(path)
    if file_format(path) is Format.PARQUET:
        vectors = parquet_vectors(path) if vector_field is None else [vector_field]
        records = list(islice(read_parquet_rows(path, vectors), limit))
        if not any(record for _, record in records):
            return Columns(None, None, None)
    else:
        records = [
            (place, _without_vector(record, vector_field))
            for place, record in islice(read_records(path), limit)
        ]
    first = next((record for _, record in records), {})
    columns = _Columns.choose(path, first, text_columns, id_column, need_text=False)
    read = [
        columns.split(path, place, columns.with_text(record), row)
        for row, (place, record) in enumerate(records)
    ]
    metadata = _typed(path, [rest for _, _, rest in read])
    return Columns(
        None if columns.id is None else [id_ for id_, _, _ in read],
        [text for _, text, _ in read] if columns.text else None,
        metadata if any(metadata) else None,
    )


def _without_vector(record: Record, field: str | None) -> Record:
    for name in vector_fields(record) if field is None else [field]:
        record = without_field(record, name)
    return record


def _without_vectors(
    path: Path, records: Iterator[tuple[str, Record]]
) -> Iterator[tuple[str, Record]]:
    """The records; `DataError` at the first that holds a vector."""
    for place, record in records:
        fields = vector_fields(record) or long_lists(record)
        if fields:
            raise DataError(
                f"{path}, {place} holds numbers like those of a vector in {listed(fields)}; use "
                f"them as vectors with --key {fields[0]}, or encode a text beside them with "
                "--text-column NAME"
            )
        yield place, record


def _typed(path: Path, metadata: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    return typed(metadata) if file_format(path) in TABLES else tuple(metadata)


def read_retrieval_set(folder: str | os.PathLike[str], split: str | None = None) -> RetrievalSet:
    """A BEIR-like folder: `corpus.jsonl`, `queries.jsonl`, `qrels/<split>.tsv`, plain or gzipped.

    `split` may be left out when there is only one, or one named `test`. Queries without a relevant
    document in this split are left out: they cannot be scored.
    """
    folder = Path(folder)
    corpus = read_texts(_one_file(folder, "corpus.jsonl"))
    queries = read_texts(_one_file(folder, "queries.jsonl"))
    qrels_path = _qrels_file(folder / "qrels", split)
    qrels = read_qrels(qrels_path, queries.ids, corpus.ids)
    rows = [row for row, query in enumerate(queries.ids) if _has_relevant(qrels.get(query, {}))]
    if not rows:
        raise DataError(f"{qrels_path} judges no document relevant (score above 0) to any query")
    with_relevant = Corpus(
        tuple(queries.ids[row] for row in rows),
        tuple(queries.texts[row] for row in rows),
        tuple(queries.metadata[row] for row in rows),
    )
    return RetrievalSet(corpus, with_relevant, {query: qrels[query] for query in with_relevant.ids})


def _check_ids(ids: Sequence[Id]) -> None:
    """Ids are unique, and all integers or all strings (1 and "1" would be one id in a TSV)."""
    kinds = {type(id_) for id_ in ids}
    if len(kinds) > 1 or not kinds <= {int, str}:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise IdsError(f"ids are of type {names}; make them all integers or all strings")
    if len(set(ids)) == len(ids):
        return
    first_row: dict[Id, int] = {}
    for row, id_ in enumerate(ids):
        if id_ in first_row:
            raise IdsError(
                f"id {id_!r} stands in rows {first_row[id_]} and {row} (from 0); "
                "ids must be unique: remove one row or choose another id column"
            )
        first_row[id_] = row


def _has_relevant(grades: Mapping[Id, float | int]) -> bool:
    return any(grade > 0 for grade in grades.values())


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a file that are the text and the id."""

    text: tuple[str, ...]
    id: str | None

    @classmethod
    def choose(
        cls,
        path: Path,
        record: Record,
        text_columns: str | Sequence[str] | None,
        id_column: str | None,
        *,
        need_text: bool = True,
    ) -> "_Columns":
        """Choose the named columns, or the usual ones for None; `record` is the file's first."""
        text = (text_columns,) if isinstance(text_columns, str) else tuple(text_columns or ())
        for column in (*text, *([id_column] if id_column is not None else ())):
            if column not in record:
                raise DataError(f"{path} has no column {column!r}; it has {listed(record)}")
        text = text or _usual_text(record)
        if need_text and not text:
            raise DataError(
                f"{path} has none of the usual text columns (title, text, abstract); "
                f"name the text column: it has {listed(record)}"
            )
        return cls(text, id_column or _usual_id(record))

    def with_text(self, record: Record) -> Record:
        """The record, with the text "" where it has none."""
        if any(record.get(column) is not None for column in self.text):
            return record
        return {**record, **dict.fromkeys(self.text[:1], "")}

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
        parts = [record[column] for column in self.text if record.get(column) is not None]
        if self.text and not parts:
            raise DataError(
                f"{path}, {place} has no text: none of {listed(self.text)} among {listed(record)}"
            )
        for part in parts:
            if not isinstance(part, str):
                raise DataError(f"{path}, {place} has {part!r} as text; texts are strings")
        return " ".join(part for part in parts if part)


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


def _one_file(folder: Path, name: str) -> Path:
    """Find the file `name` in `folder`, plain or gzipped."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(
        f"{folder} holds neither {name} nor {name}.gz; a retrieval set is a folder with "
        "corpus.jsonl, queries.jsonl and qrels/<split>.tsv"
    )


def _qrels_file(folder: Path, split: str | None) -> Path:
    """Find the judgments of a split; for None the only ones, or those named `test`."""
    names = sorted({path.name.partition(".tsv")[0] for path in folder.glob("*.tsv*")})
    if split is None:
        split = names[0] if len(names) == 1 else "test"
    if split not in names:
        have = listed(names) if names else "none"
        raise DataError(f"{folder} has no judgments {split!r}; name one of its splits: {have}")
    return _one_file(folder, f"{split}.tsv")


def read_qrels(
    path: str | os.PathLike[str], queries: Sequence[Id], documents: Sequence[Id]
) -> dict[Id, dict[Id, float]]:
    """Read grades by query and document, under these ids.

    The file is a table of query-id, corpus-id, score (BEIR), one of TREC's four columns, a table
    without header or without scores (then 1), or JSON lines. Judgments of queries or documents that
    are not among the ids, and equal ones that come twice, are left out, and a log message counts
    them. `DataError` where no judgment is left, and for a pair with two grades.
    """
    path = Path(path)
    # A file has only strings; the texts may have integers.
    known = [{str(id_): id_ for id_ in ids} for ids in (queries, documents)]
    qrels: dict[Id, dict[Id, float]] = {}
    unknown: dict[str, list[str]] = {"query": [], "document": []}
    repeated = n_rows = 0
    for row in read_judgment_rows(path):
        n_rows += 1
        grade = _grade(path, row.place, row.grade)
        query, doc = known[0].get(row.query), known[1].get(row.document)
        if query is None or doc is None:
            kind, id_ = ("query", row.query) if query is None else ("document", row.document)
            unknown[kind].append(id_)
            continue
        grades = qrels.setdefault(query, {})
        if grades.get(doc, grade) != grade:
            raise DataError(
                f"{path}, {row.place} judges query {query!r}, document {doc!r} again, with another "
                f"grade: {grade:g} after {grades[doc]:g}; leave one of them out"
            )
        repeated += doc in grades
        grades[doc] = grade
    _report_left_out(path, n_rows, unknown, repeated, is_empty=not qrels)
    return qrels


def _report_left_out(
    path: Path, n_rows: int, unknown: Mapping[str, list[str]], repeated: int, is_empty: bool
) -> None:
    """Log how many judgments were left out, and why; `DataError` if these are all."""
    reasons = [
        f"{len(ids):,} name a {kind} that is not there, such as {ids[0]!r}"
        for kind, ids in unknown.items()
        if ids
    ]
    if repeated:
        reasons.append(f"{repeated:,} come twice")
    if not reasons:
        return
    problem = f"{path}: of {n_rows:,} judgments, {' and '.join(reasons)}"
    if is_empty:
        raise DataError(f"{problem}, and none is left; use the ids of the texts")
    _log.warning("%s; these were left out", problem)


def read_triplets(
    path: str | os.PathLike[str], queries: Sequence[Id], documents: Sequence[Id]
) -> list[tuple[Id, Id, Id, str]]:
    """Read hard negatives from a TSV of query-id, positive-id, negative-id and, optionally, kind.

    Without a column of kinds, the kind is "unlabelled". `DataError` for an id that is not among
    `queries` or `documents`.
    """
    rows = _rows_by_id(Path(path), TRIPLET_COLUMNS, queries, documents)
    return [
        (query, positive, negative, row.get("kind", UNLABELLED))
        for _, row, (query, positive, negative) in rows
    ]


def read_columns(
    path: str | os.PathLike[str], id_column: str, ids: Sequence[Id]
) -> dict[str, list[str]]:
    """The other columns of a TSV by their names, one value for each of `ids`, in their order.

    `DataError` unless `id_column` names every one of `ids` once.
    """
    path = Path(path)
    columns: dict[str, Record] = {}
    for place, row in read_tsv(path):
        if id_column not in row or len(row) < 2:
            raise DataError(f"{path} has the columns {listed(row)}; it needs {id_column} and more")
        if row[id_column] in columns:
            raise DataError(f"{path}, {place} names {row[id_column]!r} again")
        columns[row[id_column]] = row
    missing = [id_ for id_ in ids if str(id_) not in columns]
    if missing or not columns:
        named = "nothing" if not columns else f"no {id_column} {missing[0]!r}"
        raise DataError(f"{path} names {named}; give each of {len(ids)} a line")
    names = [name for name in next(iter(columns.values())) if name != id_column]
    return {name: [columns[str(id_)][name] for id_ in ids] for name in names}


def _rows_by_id(
    path: Path, columns: Sequence[str], queries: Sequence[Id], documents: Sequence[Id]
) -> Iterator[tuple[str, Record, tuple[Id, ...]]]:
    """Yield place, record and ids of each row of a TSV that names a query and then documents."""
    # A TSV has only strings; the texts may have integers.
    query_ids = {str(id_): id_ for id_ in queries}
    doc_ids = {str(id_): id_ for id_ in documents}
    for place, row in read_tsv(path):
        if not row.keys() >= set(columns):
            raise DataError(f"{path} has the columns {listed(row)}; it needs {listed(columns)}")
        ids: list[Id] = []
        for column in (name for name in columns if name.endswith("-id")):
            is_query = column == columns[0]
            rows = query_ids if is_query else doc_ids
            if row[column] not in rows:
                kind = "query" if is_query else "document"
                raise DataError(
                    f"{path}, {place} judges {kind} {row[column]!r}, which is not there"
                )
            ids.append(rows[row[column]])
        yield place, row, tuple(ids)


def _grade(path: Path, place: str, score: str) -> float:
    try:
        grade = float(score)
    except ValueError:
        grade = math.nan
    if not math.isfinite(grade):
        raise DataError(f"{path}, {place} has the score {score!r}; scores are finite numbers")
    return grade
