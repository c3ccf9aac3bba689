"""`nestvec add`, `update`, `delete`, `compact`: changes to an index."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from nestvec.cli import options
from nestvec.cli.model import encoder_choice, headers_of
from nestvec.cli.output import note, print_facts, print_json, short_path
from nestvec.cli.standard_input import read_lines
from nestvec.collections.checks import check_new, check_present, check_records
from nestvec.collections.input_rows import (
    InputFile,
    InputRows,
    check_not_transformed,
    reject_unused,
)
from nestvec.data import Corpus
from nestvec.encode.registry import EncoderOptions
from nestvec.errors import InputError
from nestvec.index import Index
from nestvec.inputs.column_roles import ColumnChoice, ColumnRoles
from nestvec.plurals import count_of
from nestvec.progress import bar

if TYPE_CHECKING:
    from nestvec.encode import Encoder

_Encoder = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="For texts, in place of the model the index records."),
]


def add(
    index: options.IndexPath,
    data: options.Data,
    model: _Encoder = None,
    base_url: options.BaseUrl = None,
    texts: options.Texts = None,
    key: options.Key = None,
    text_column: options.TextColumn = None,
    id_column: options.IdColumn = None,
    packed_bits: options.PackedBits = False,
    limit: options.Limit = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace whole rows whose ids are there already.")
    ] = False,
    batch_size: options.BatchSize = None,
    requests: options.Requests = None,
    on_bad_text: options.OnBadText = options.OnBadTextOption.fail,
    trust_remote_code: options.TrustRemoteCode = False,
    header: options.Header = None,
    json: options.Json = False,
) -> None:
    """Add texts or vectors to an index, all or none; without --replace their ids must be new.

    Texts are encoded by the model that the index records, and read from the columns that it
    records. Rows without ids are numbered on.

    Examples:
      nestvec add corpus.nv more.jsonl
      nestvec add corpus.nv vectors.npy --texts more.jsonl
      nestvec add corpus.nv corrected.jsonl --replace
    """
    start, opened = time.perf_counter(), Index.open(index)
    input_file = InputFile(
        data, texts, key, ColumnChoice(text_column, id_column), limit, "document",
        on_bad_text.value,
        check=partial(_check_has_ids, data) if replace else partial(_check_new, opened),
        recorded=opened.meta.get("columns"), packed_bits=packed_bits,
    )  # fmt: skip
    of_encoder = EncoderOptions(
        batch_size=batch_size, requests=requests, trust_remote_code=trust_remote_code,
        headers=headers_of(header),
    )  # fmt: skip
    rows = _read(opened, input_file, model, base_url, of_encoder)
    numbered = rows.ids is not None and _are_row_numbers(rows.ids, rows.roles)
    if replace and (rows.ids is None or numbered):
        raise InputError(_without_ids(data))
    texts_, metadata, vectors = rows.texts, rows.metadata, rows.vectors
    if replace and rows.ids is not None:
        opened.upsert(vectors, ids=rows.ids, texts=texts_, metadata=metadata, progress=bar)
    else:
        ids = None if numbered else rows.ids
        opened.add(vectors, ids=ids, texts=texts_, metadata=metadata, progress=bar)
    _finish(opened, rows, "added", start, json)


def update(
    index: options.IndexPath,
    data: options.Data,
    model: _Encoder = None,
    base_url: options.BaseUrl = None,
    texts: options.Texts = None,
    key: options.Key = None,
    text_column: options.TextColumn = None,
    id_column: options.IdColumn = None,
    packed_bits: options.PackedBits = False,
    limit: options.Limit = None,
    batch_size: options.BatchSize = None,
    requests: options.Requests = None,
    on_bad_text: options.OnBadText = options.OnBadTextOption.fail,
    trust_remote_code: options.TrustRemoteCode = False,
    header: options.Header = None,
    json: options.Json = False,
) -> None:
    """Replace the rows of an index that have the ids of the data, all or none.

    Texts are read from the columns that the index records. Vectors without texts and other columns
    leave texts and metadata as they are.

    Examples:
      nestvec update corpus.nv corrected.jsonl
    """
    start, opened = time.perf_counter(), Index.open(index)
    input_file = InputFile(
        data, texts, key, ColumnChoice(text_column, id_column), limit, "document",
        on_bad_text.value, check=partial(_check_present, opened, data),
        recorded=opened.meta.get("columns"), packed_bits=packed_bits,
    )  # fmt: skip
    of_encoder = EncoderOptions(
        batch_size=batch_size, requests=requests, trust_remote_code=trust_remote_code,
        headers=headers_of(header),
    )  # fmt: skip
    rows = _read(opened, input_file, model, base_url, of_encoder)
    if rows.ids is None or _are_row_numbers(rows.ids, rows.roles):
        raise InputError(_without_ids(data))
    opened.update(
        rows.vectors, ids=rows.ids, texts=rows.texts, metadata=rows.metadata, progress=bar
    )
    _finish(opened, rows, "updated", start, json)


def delete(
    index: options.IndexPath,
    ids: Annotated[
        list[str] | None, typer.Argument(help="Ids. Without any: lines from standard input.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="FILTER", help="Delete the rows that match, as in nestvec search."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Delete the rows of an index that have these ids, all or none, or that match a filter.

    Examples:
      nestvec delete corpus.nv 17 18
      nestvec delete corpus.nv --where "year < 2000"
      nestvec delete corpus.nv < ids.txt
    """
    start, opened = time.perf_counter(), Index.open(index)
    if where is not None:
        if ids:
            raise InputError("ids and --where exclude each other; leave one of the two out")
        _report(opened, "deleted", opened.delete(where=where), start, json)
        return
    names = ids or read_lines("ids")
    opened.delete(_as_ids(opened, names))
    _report(opened, "deleted", len(names), start, json)


def compact(index: options.IndexPath, json: options.Json = False) -> None:
    """Merge all segments of an index into one, without the rows that were deleted.

    Examples:
      nestvec compact corpus.nv
    """
    start, opened = time.perf_counter(), Index.open(index)
    n_before = sum(part.entry.rows for part in opened.snapshot.parts)
    opened.compact(progress=bar)
    _report(opened, "dropped", n_before - len(opened), start, json)


def _check_new(index: Index, corpus: Corpus) -> None:
    """Check rows to be added before they are encoded; rows without ids are numbered on."""
    check_records(corpus.ids, corpus.texts, corpus.metadata)
    if not _are_row_numbers(corpus.ids, corpus.roles):
        check_new(index, corpus.ids)


def _are_row_numbers(ids: Sequence[Any] | np.ndarray, roles: ColumnRoles | None) -> bool:
    """Tell whether ids are no more than the numbers of the rows, and no column of the file."""
    has_column = roles is not None and roles.id is not None
    return not has_column and list(ids) == list(range(len(ids)))


def _check_present(index: Index, data: Path, corpus: Corpus) -> None:
    """Check rows that replace others before they are encoded."""
    _check_has_ids(data, corpus)
    check_present(index, corpus.ids)


def _check_has_ids(data: Path, corpus: Corpus) -> None:
    """Check rows that may replace others before they are encoded; those without ids cannot."""
    if _are_row_numbers(corpus.ids, corpus.roles):
        raise InputError(_without_ids(data))
    check_records(corpus.ids, corpus.texts, corpus.metadata)


def _without_ids(data: Path) -> str:
    return (
        f"{data} has no column of ids, by which rows are replaced; name one with --id-column, or "
        "give vectors their ids with --texts"
    )


def _read(
    index: Index,
    input_file: InputFile,
    model: str | None,
    base_url: str | None,
    of_encoder: EncoderOptions,
) -> InputRows:
    def encoder() -> "tuple[Encoder, dict[str, Any]]":
        from nestvec.collections.encoders import model_record, open_recorded

        record = index.meta["model"]
        choice = encoder_choice(model, base_url, of_encoder)
        opened = open_recorded(record, choice, note)
        return opened, model_record(opened, (record or {}).get("dimensions"))

    def vector_model() -> None:
        reject_unused("for vectors, which are not encoded again", {"--base-url": base_url})

    rows = input_file.load(index.path, vector_model, encoder, bar)
    if index.transform is not None:
        check_not_transformed(input_file.data, rows.adapted_by)
    return rows


def _as_ids(index: Index, names: list[str]) -> list[int] | list[str]:
    """Ids are typed on a command line; whether they are numbers, the index knows."""
    if index.snapshot.ids_kind != "int":
        return names
    try:
        return [int(name) for name in names]
    except ValueError as e:
        raise InputError(f"the ids of {index.path} are whole numbers ({e})") from None


def _finish(index: Index, rows: InputRows, done: str, start: float, json: bool) -> None:
    if rows.encoded is not None:
        rows.encoded.unlink()
    _report(index, done, len(rows.vectors), start, json)


def _report(index: Index, done: str, rows: int, start: float, json: bool) -> None:
    duration_s = time.perf_counter() - start
    parts = index.snapshot.parts
    facts: dict[str, Any] = {
        "index": index.path,
        done: rows,
        "rows": len(index),
        "generation": index.generation,
        "segments": len(parts),
        "deleted_rows": sum(part.entry.rows - part.count for part in parts),
        "duration_s": round(duration_s, 3),
    }
    if json:
        print_json(facts)
        return
    print_facts(
        {
            done: count_of(rows, "row"),
            "index": f"{short_path(index.path)}, {count_of(len(index), 'row')}, "
            f"generation {index.generation}",
            "segments": f"{len(parts)}, {count_of(facts['deleted_rows'], 'deleted row')} until "
            "compact",
            "time": f"{duration_s:,.1f} s",
        }
    )
