"""Files of hits: a line or a row for each hit of each query."""

import csv
import io
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from nestvec.documents import Document
from nestvec.encode.row_files import metadata_fields, new_file
from nestvec.errors import InputError
from nestvec.extras import require
from nestvec.hits import Hits
from nestvec.inputs.formats import suffix_of

_COLUMNS = ("query", "rank", "id", "score", "row")
_RESERVED = (*_COLUMNS, "certified", "text")
_TREC_TAG = "nestvec"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class AnsweredQueries:
    """The hits of queries with the documents that they stand for, and a label for each query."""

    labels: Sequence[Any]
    hits: Hits
    documents: Callable[[Hits], list[list[Document]]]
    """Look up the documents of all hits."""
    fields: Sequence[str] | None = None
    """The fields of the metadata to write; None for all."""
    with_proof: bool = False
    """Whether to write which queries have hits that are proven exact."""

    def rows(self) -> Iterator[tuple[dict[str, Any], Document]]:
        """Iterate the columns of each hit, and its document; padding is left out."""
        queries = zip(self.labels, self.hits, self.documents(self.hits), strict=True)
        for number, (label, of_query, documents) in enumerate(queries):
            proof = {"certified": bool(self.hits.certified[number])} if self.with_proof else {}
            for rank, (hit, document) in enumerate(zip(of_query, documents, strict=True), 1):
                yield {"query": label, "rank": rank, **hit._asdict(), **proof}, document

    def metadata(self, document: Document) -> dict[str, Any]:
        """Return the fields of the metadata to write."""
        metadata = dict(document.metadata or {})
        if self.fields is None:
            return metadata
        return {name: metadata[name] for name in self.fields if name in metadata}


def check_hit_file(path: Path) -> None:
    """Raise `InputError` for a file whose suffix names no format of hits."""
    if suffix_of(path) not in _WRITERS or path.name.lower().endswith((".gz", ".zst")):
        raise InputError(f"{path} is named like none of {', '.join(_WRITERS)}; name the file so")


def write_hits(answers: AnsweredQueries, path: Path, overwrite: bool) -> None:
    """Write hits to a file in the format of its suffix; it appears whole or not at all.

    `.jsonl`, `.parquet`, `.csv` and `.tsv` have a row for each hit: query, rank (from 1), id,
    score, row, text and metadata, and `certified` where a proof was asked for. `.npz` has the
    arrays queries [q], ids, scores and rows [q, k] with padding, and certified [q]. `.trec` and
    `.run` are run files of TREC. `InputError` for another suffix, `StorageError` for a file that
    exists without `overwrite`.
    """
    check_hit_file(path)
    with new_file(path, overwrite) as file:
        _WRITERS[suffix_of(path)](answers, file)


def _write_jsonl(answers: AnsweredQueries, file: IO[bytes]) -> None:
    for row, document in answers.rows():
        record = dict(row)
        if document.text is not None:
            record["text"] = document.text
        metadata = answers.metadata(document)
        if metadata:
            record["metadata"] = metadata
        file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")


def _write_csv(answers: AnsweredQueries, file: IO[bytes], delimiter: str = ",") -> None:
    rows = [(row, document, answers.metadata(document)) for row, document in answers.rows()]
    names = list(dict.fromkeys(name for *_, metadata in rows for name in metadata))
    _check_names(names)
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    proof = ("certified",) if answers.with_proof else ()
    writer.writerow([*_COLUMNS, *proof, "text", *names])
    for row, document, metadata in rows:
        # As many digits as a float32 needs to come back as it was.
        values = {**row, "score": str(np.float32(row["score"]))}.values()
        cells = [_cell(metadata.get(name)) for name in names]
        writer.writerow([*values, _cell(document.text), *cells])
    text.detach()  # the file is closed by whoever opened it


def _write_tsv(answers: AnsweredQueries, file: IO[bytes]) -> None:
    _write_csv(answers, file, "\t")


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _write_parquet(answers: AnsweredQueries, file: IO[bytes]) -> None:
    pyarrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    rows = list(answers.rows())
    documents = [Document(d.id, d.text, answers.metadata(d)) for _, d in rows]
    fields = metadata_fields(iter([documents]), _RESERVED)
    types = {"rank": pyarrow.int32(), "score": pyarrow.float32(), "row": pyarrow.int64()}
    names = [*_COLUMNS, *(["certified"] if answers.with_proof else [])]
    columns = {
        **{name: pyarrow.array([row[name] for row, _ in rows], types.get(name)) for name in names},
        "text": pyarrow.array([document.text for document in documents], pyarrow.string()),
        **{
            field.name: pyarrow.array(
                [(document.metadata or {}).get(field.name) for document in documents], field.type
            )
            for field in fields
        },
    }
    parquet.write_table(pyarrow.table(columns), file)


def _write_npz(answers: AnsweredQueries, file: IO[bytes]) -> None:
    hits = answers.hits
    ids = hits.ids
    if ids.dtype == object:
        ids = np.array(["" if i is None else i for i in ids.ravel()], np.str_).reshape(ids.shape)
    labels = np.array(list(answers.labels))
    arrays: dict[str, Any] = {
        "queries": labels, "ids": ids, "scores": hits.scores, "rows": hits.rows,
    }  # fmt: skip
    if answers.with_proof:
        arrays["certified"] = hits.certified
    np.savez(file, **arrays)


def _write_trec(answers: AnsweredQueries, file: IO[bytes]) -> None:
    labels = [str(label) for label in answers.labels]
    if any(not label or len(label.split()) != 1 for label in labels):
        _log.warning("queries are numbered from 0 in a run file of TREC: theirs have spaces")
        labels = [str(number) for number in range(len(labels))]
    numbered = AnsweredQueries(labels, answers.hits, answers.documents)
    for row, _ in numbered.rows():
        if len(str(row["id"]).split()) != 1:
            raise InputError(
                f"the id {row['id']!r} has spaces, which a run file of TREC cannot hold; write "
                ".jsonl"
            )
        score = np.float32(row["score"])
        line = f"{row['query']} Q0 {row['id']} {row['rank']} {score} {_TREC_TAG}\n"
        file.write(line.encode())


def _check_names(names: Sequence[str]) -> None:
    clashes = [name for name in names if name in _RESERVED]
    if clashes:
        raise InputError(
            f"the metadata field {clashes[0]!r} has the name of another column; write .jsonl"
        )


_WRITERS: dict[str, Callable[[AnsweredQueries, IO[bytes]], None]] = {
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".npz": _write_npz,
    ".trec": _write_trec,
    ".run": _write_trec,
}
