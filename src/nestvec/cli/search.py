"""`nestvec search`: the best rows for texts or vectors."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from nestvec.cli import options
from nestvec.cli.output import Columns, note, print_facts, print_json, print_table, shorten, size
from nestvec.cli.standard_input import is_terminal, read_lines
from nestvec.documents import Document
from nestvec.errors import InputError
from nestvec.hits import Hit, Hits
from nestvec.index import Index
from nestvec.plurals import count_of
from nestvec.shapes import Float

if TYPE_CHECKING:
    from nestvec.encode import Encoder

_SHOWN_CHARS = 160
_HIT_COLUMNS: Columns = {"rank": "right", "score": "right", "id": "left", "text": "left"}
_STAGE_COLUMNS: Columns = {"stage": "left", "rows/query": "right", "bytes/query": "right"}


@dataclass(frozen=True, slots=True)
class _Search:
    """An open index and how to search it."""

    index: Index
    k: int
    plan: str | None
    where: str | None
    exact: bool
    certify: bool
    threads: int | None
    dims: int | None = None
    min_score: float | None = None
    transformed_by: str | None = None

    def check(self) -> None:
        """Check the options and make the index ready, before a model is loaded for long."""
        self.index.check_search(
            self.k, plan=self.plan, where=self.where, exact=self.exact, certify=self.certify,
            threads=self.threads, dims=self.dims,
        )  # fmt: skip

    def run(self, queries: Float[np.ndarray, "q dim"]) -> tuple[Hits, float]:
        """Search, and return the hits with the seconds that they took."""
        start = time.perf_counter()
        hits = self._hits(queries)
        return hits, time.perf_counter() - start

    def _hits(self, queries: Float[np.ndarray, "q dim"]) -> Hits:
        hits = self.index.search(
            queries, self.k, plan=self.plan, dims=self.dims, where=self.where, exact=self.exact,
            certify=self.certify, threads=self.threads, transformed_by=self.transformed_by,
        )  # fmt: skip
        return hits if self.min_score is None else hits.with_min_score(self.min_score)


def search(
    index: options.IndexPath,
    query: Annotated[
        list[str] | None,
        typer.Argument(help="Questions. Without any: lines from standard input, or a prompt."),
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Queries as vectors, in place of texts.")
    ] = None,
    key: options.Key = None,
    k: Annotated[int, typer.Option("-k", help="How many hits per query.")] = 10,
    plan: Annotated[
        str | None,
        typer.Option(
            metavar="PLAN",
            help="What to read: 'probe=32; 256x1:800 > full' visits 32 cells, keeps 800 rows by 1 "
            "bit of 256 dims, reranks them on full vectors.",
        ),
    ] = None,
    dims: Annotated[
        int | None,
        typer.Option(metavar="N", help="Read the codes of the first N dims alone, then rerank."),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(metavar="SCORE", help="Show hits from this score on.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="FILTER",
            help="Search only rows of which this is true: id, text and fields of the metadata, "
            "such as \"year >= 2015 and category in ('cs.CL', 'cs.IR')\".",
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Prove that the exact nearest rows are answered.")
    ] = False,
    certify: Annotated[
        bool, typer.Option("--certify", help="Say of each answer whether it is proven to be exact.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Else one for each core.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="In place of the model the index records.")
    ] = None,
    base_url: options.BaseUrl = None,
    query_prompt: options.QueryPrompt = None,
    trust_remote_code: options.TrustRemoteCode = False,
    header: options.Header = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help="Also show this field of the metadata; repeatable."),
    ] = None,
    full_text: Annotated[
        bool, typer.Option("--full-text", help="Show texts whole, not their beginnings.")
    ] = False,
    stats: Annotated[
        bool,
        typer.Option(
            "--stats",
            help="Also show what each stage read, and the time. "
            "A row in two of the cells is counted twice.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the hits to a .jsonl, .parquet, .csv, .tsv or .npz file, or to a TREC run "
            "file (.trec, .run).",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    json: options.Json = False,
) -> None:
    """Find the rows of an index that are nearest to questions or to vectors.

    Vectors that nestvec adapt apply wrote record the transform they went through; all other queries
    go through that of the index, if it has one. On a terminal and without a question it prompts for
    them, until an empty line.

    Examples:
      nestvec search corpus.nv "how to land on water" -k 3
      nestvec search corpus.nv < questions.txt
      nestvec search corpus.nv --vectors queries.npy -k 100 --json
      nestvec search corpus.nv --vectors queries.npy -k 100 -o hits.parquet
      nestvec search corpus.nv "water" --exact --stats
      nestvec search corpus.nv "water" --where "year >= 2015 and venue is not null"
      nestvec search corpus.nv "water" --dims 64 --min-score 0.3 --columns year --full-text
      nestvec search corpus.nv
    """
    if query and vectors is not None:
        raise InputError(f"a question and --vectors {vectors} exclude each other; leave one out")
    task = _Search(Index.open(index), k, plan, where, exact, certify, threads, dims, min_score)
    view = _View(tuple(columns or ()), full_text)
    target = None if output is None else _HitFile(output, overwrite, columns)
    if vectors is not None:
        labels, queries, adapted_by = _read_queries(vectors, key)
        task = replace(task, transformed_by=adapted_by)
        _answer(task, labels, queries, stats, json, view, target)
        return
    task.check()
    texts = query or _piped_lines("--json" if json else "--output" if output else None)
    from nestvec.cli.model import encoder_options, open_for_queries
    from nestvec.collections.encoders import encode_queries

    of_encoder = encoder_options(query_prompt, None, trust_remote_code, header)
    encoder = open_for_queries(task.index, model, base_url, of_encoder)
    if texts is None:
        _converse(task, encoder, view)
    else:
        _answer(task, texts, encode_queries(encoder, texts), stats, json, view, target)


def _read_queries(
    path: Path, key: str | None
) -> tuple[list[Any], Float[np.ndarray, "q dim"], str | None]:
    """Vectors, what to call each (its id, or else its row number), and what adapted them."""
    from nestvec.encode import read_vectors

    vector_file = read_vectors(path, key)
    labels = (
        range(len(vector_file.vectors)) if vector_file.ids is None else vector_file.ids.tolist()
    )
    return list(labels), vector_file.vectors, vector_file.adapted_by


def _piped_lines(option: str | None) -> list[str] | None:
    """The questions on standard input, or None where a person sits before it.

    `InputError` for a person who passed an option that answers no prompt.
    """
    if not is_terminal():
        lines = [line.strip() for line in read_lines("questions")]
        if not lines:
            raise InputError("there is no question; give some as arguments or one per input line")
        return lines
    if option is not None:
        raise InputError(f"{option} answers no prompt; give a question, or one per input line")
    return None


class _HitFile:
    """The file to write hits to; checked when it is made, before a model is loaded."""

    def __init__(self, path: Path, overwrite: bool, fields: list[str] | None) -> None:
        from nestvec.collections.hit_files import check_hit_file
        from nestvec.encode.row_files import check_new_file

        check_hit_file(path)
        check_new_file(path, overwrite)
        self.path, self.overwrite, self.fields = path, overwrite, fields

    def write(self, task: _Search, labels: Sequence[Any], hits: Hits) -> None:
        """Write the hits of all queries."""
        from nestvec.collections.hit_files import AnsweredQueries, write_hits

        answers = AnsweredQueries(
            labels,
            hits,
            lambda found: _documents(task, found),
            self.fields,
            with_proof=task.exact or task.certify,
        )
        write_hits(answers, self.path, self.overwrite)


def _answer(
    task: _Search,
    labels: Sequence[Any],
    queries: Float[np.ndarray, "q dim"],
    stats: bool,
    json: bool,
    view: "_View",
    target: _HitFile | None,
) -> None:
    hits, duration_s = task.run(queries)
    if target is not None:
        target.write(task, labels, hits)
        n_hits = int((hits.rows >= 0).sum())
        written = f"{count_of(n_hits, 'hit')} of {count_of(len(labels), 'query', 'queries')}"
        facts = {"output": target.path, "queries": len(labels), "hits": n_hits}
        if json:
            print_json(facts)
        else:
            print_facts({"hits": f"{target.path}, {written}"})
    elif json:
        print_json(_as_json(task, labels, hits, duration_s))
        return
    else:
        documents = _documents(task, hits)
        for row, label in enumerate(labels):
            if len(labels) > 1:
                print(f"{chr(10) if row else ''}query: {label}")
            _print_hits(task, hits, row, documents[row], view)
    if stats and not json:
        print()
        _print_stats(hits, duration_s)


def _converse(task: _Search, encoder: "Encoder", view: "_View") -> None:
    """Ask for questions until an empty line or the end of input."""
    import readline  # noqa: F401  gives `input` a history and keys to edit with

    from nestvec.collections.encoders import encode_queries

    note(f"{len(task.index):,} rows; an empty line ends")
    for text in _prompts():
        start = time.perf_counter()
        query = encode_queries(encoder, [text])
        encode_s = time.perf_counter() - start
        hits, duration_s = task.run(query)
        (documents,) = _documents(task, hits)
        _print_hits(task, hits, 0, documents, view)
        print(
            f"{1e3 * encode_s:.0f} ms to encode, {1e3 * duration_s:.2f} ms to search; "
            f"read {size(hits.stats.size_bytes)} of {size(4 * len(task.index) * task.index.dim)}\n"
        )


def _prompts() -> Iterator[str]:
    while True:
        try:
            text = input("question> ").strip()
        except EOFError:
            print()
            return
        if not text:
            return
        yield text


def _documents(task: _Search, hits: Hits) -> list[list[Document]]:
    """Read the documents of all hits of a batch at once: one look at the catalog."""
    documents = iter(task.index.snapshot.documents([hit.row for query in hits for hit in query]))
    return [list(islice(documents, len(query))) for query in hits]


@dataclass(frozen=True, slots=True)
class _View:
    """Columns of a hit beside rank, score and id."""

    fields: tuple[str, ...]
    full_text: bool

    @property
    def columns(self) -> Columns:
        return {**_HIT_COLUMNS, **dict.fromkeys(self.fields, "left")}

    def cells(self, document: Document) -> list[str]:
        metadata = document.metadata or {}
        title, text = metadata.get("title"), document.text
        line = " · ".join(str(part) for part in (title, text) if part)
        values = (metadata.get(field) for field in self.fields)
        shown = ("" if value is None else str(value) for value in values)
        return [line if self.full_text else shorten(line, _SHOWN_CHARS), *shown]


def _print_hits(
    task: _Search, hits: Hits, row: int, documents: list[Document], view: _View
) -> None:
    cells = [
        (str(rank), f"{hit.score:.4f}", str(hit.id), *view.cells(document))
        for rank, (hit, document) in enumerate(zip(hits[row], documents, strict=True), start=1)
    ]
    print_table(view.columns, cells)
    if task.exact or task.certify:
        print("proven exact" if hits.certified[row] else "not proven to be exact")


def _print_stats(hits: Hits, duration_s: float) -> None:
    stats, count = hits.stats, max(1, hits.stats.queries)
    print_table(
        _STAGE_COLUMNS,
        [
            ("cells", f"{stats.cells / count:,.0f}", size(stats.probe_bytes / count)),
            *(
                (stage.stage, f"{stage.rows / count:,.0f}", size(stage.size_bytes / count))
                for stage in stats.stages
            ),
        ],
    )
    queries = count_of(stats.queries, "query", "queries")
    print(f"{1e3 * duration_s:.2f} ms for {queries}, {size(stats.size_bytes)} read")


def _as_json(task: _Search, labels: Sequence[Any], hits: Hits, duration_s: float) -> dict[str, Any]:
    return {
        "index": task.index.path,
        "k": task.k,
        "plan": str(hits.plan),
        "where": task.where,
        "queries": [
            {
                "query": label,
                **_proof(task, hits, row),
                "hits": _hits_as_json(hits[row], documents),
            }
            for row, (label, documents) in enumerate(
                zip(labels, _documents(task, hits), strict=True)
            )
        ],
        "stats": {
            **asdict(hits.stats),
            "size_bytes": hits.stats.size_bytes,
            "duration_s": duration_s,
        },
    }


def _proof(task: _Search, hits: Hits, row: int) -> dict[str, bool]:
    return {"certified": bool(hits.certified[row])} if task.exact or task.certify else {}


def _hits_as_json(hits: list[Hit], documents: list[Document]) -> list[dict[str, Any]]:
    pairs = zip(hits, documents, strict=True)
    return [{"row": hit.row, "score": hit.score, **asdict(document)} for hit, document in pairs]
