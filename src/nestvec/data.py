"""Texts, queries and relevance judgments, read from files and checked row by row.

The formats are those of `nestvec.inputs.records`; a JSON object is as in BEIR:
`{"_id": …, "title": …, "text": …, "metadata": {…}}`. Empty texts stay, because test collections
have such documents, and rows must match those of vectors in other files.
"""

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from nestvec.errors import DataError, IdsError, InputError
from nestvec.inputs.column_roles import (
    USUAL_COLUMNS,
    ColumnChoice,
    ColumnRoles,
    ColumnSplitter,
    Id,
    select_metadata,
)
from nestvec.inputs.formats import COLUMNAR, TABLES, file_format
from nestvec.inputs.judgment_rows import read_judgment_rows
from nestvec.inputs.numbers import long_lists, vector_fields, without_field
from nestvec.inputs.records import (
    Record,
    listed,
    read_records,
    read_table_rows,
    read_tsv,
    table_vectors,
)
from nestvec.inputs.typed_columns import typed

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
    roles: ColumnRoles = field(default=ColumnRoles(), compare=False)
    """The columns of the file that all this came from."""

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
    metadata_columns: Sequence[str] | None = None,
    refuse_vectors: bool = False,
) -> Corpus:
    """The first `limit` texts of a file (all by default), with their ids and metadata.

    Without `text_columns` the text is `title` and then `text` (or else `abstract`), those that
    there are; several columns are joined with one space, as BEIR does. Without `id_column` the id
    is `_id`, or `id`, or a first column named `…_id`, or else the row number from 0. All other
    columns become metadata, or those named by `metadata_columns`, and the entries of a `metadata`
    object stand beside them. Those of a table are numbers where all of a column are
    (`nestvec.inputs.typed_columns.typed`); an empty field is None.
    With `refuse_vectors` a record that holds a vector beside its text is an error: texts that are
    about to be encoded may have been encoded before.

    Raises `DataError` for a file that is not what its name says and `IdsError` for ids that are
    repeated or missing.
    """
    text = [text_columns] if isinstance(text_columns, str) else text_columns
    choice = ColumnChoice(text, id_column, metadata_columns)
    return read_corpus(Path(path), choice, limit, refuse_vectors=refuse_vectors)


def read_corpus(
    path: Path, choice: ColumnChoice, limit: int | None = None, *, refuse_vectors: bool = False
) -> Corpus:
    """Read texts as `read_texts` does, by a choice of columns."""
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit} reads nothing; use limit >= 1, or None for all texts")
    records: Iterator[tuple[str, Record]] = islice(read_records(path), limit)
    if refuse_vectors:
        records = _without_vectors(path, records)
    first = next(records, None)
    if first is None:
        raise DataError(f"{path} holds no texts; the file is empty or has only a header")
    columns = ColumnSplitter.choose(path, first[1], choice)
    rows = zip(count(), chain([first], records))
    read = [columns.split(path, place, record, row) for row, (place, record) in rows]
    ids, texts, rest = zip(*read, strict=True)
    metadata = select_metadata(path, rest, choice.metadata)
    try:
        return Corpus(ids, texts, _typed(path, metadata), columns.roles(path, metadata))
    except IdsError as e:
        raise IdsError(f"{path}: {e}") from None


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns beside vectors, one entry per row; None for those that the file lacks."""

    ids: list[Any] | None
    texts: list[str] | None
    metadata: Sequence[Mapping[str, Any]] | None
    roles: ColumnRoles | None


def read_columns_beside(
    path: Path,
    vector_field: str | None = None,
    choice: ColumnChoice = USUAL_COLUMNS,
    limit: int | None = None,
) -> Columns:
    """Read ids, texts and metadata of records that hold a vector, in `vector_field` or a usual one.

    Records are those of text files, and the rows of Arrow tables.

    Columns are chosen as in `read_texts`, but there need be no text: a row without one has the
    text "". Ids are as written; they may repeat.
    """
    if file_format(path) in COLUMNAR:
        vectors = table_vectors(path) if vector_field is None else [vector_field]
        records = list(islice(read_table_rows(path, vectors), limit))
        if not any(record for _, record in records):
            return Columns(None, None, None, None)
    else:
        records = [
            (place, _without_vector(record, vector_field))
            for place, record in islice(read_records(path), limit)
        ]
    first = next((record for _, record in records), {})
    columns = ColumnSplitter.choose(path, first, choice, need_text=False)
    read = [columns.split(path, place, record, row) for row, (place, record) in enumerate(records)]
    metadata = _typed(path, select_metadata(path, [rest for _, _, rest in read], choice.metadata))
    return Columns(
        None if columns.id is None else [id_ for id_, _, _ in read],
        [text for _, text, _ in read] if columns.text else None,
        metadata if any(metadata) else None,
        columns.roles(path, metadata),
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
        f"{len(ids):,} for a {kind} that is not there, such as {ids[0]!r}"
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
