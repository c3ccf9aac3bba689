"""`nestvec audit`: how small vectors may go before queries are answered worse."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from nestvec.auditing.inputs.files import AuditFiles
from nestvec.cli import options
from nestvec.cli.model import encoder_choice
from nestvec.cli.output import Columns, note, print_json, print_table, shorten
from nestvec.collections.corpus_and_queries import CorpusAndQueries
from nestvec.collections.input_rows import reject_unused
from nestvec.errors import DataError
from nestvec.extras import require
from nestvec.index import Index
from nestvec.progress import bar

if TYPE_CHECKING:
    from nestvec.auditing.reporting.report import AuditReport

T = TypeVar("T")

FAILED = 1
_SHOWN_CHARS = 100
_CHANGES: Columns = {"variant": "left", "old": "left", "new": "left", "changed metrics": "left"}


class _Mine(str, Enum):
    """Where hard negatives come from."""

    UNION = "union"
    WORDS = "words"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of the audit, beside vectors and limits."""

    qrels: Path | None
    hard_negatives: Path | None
    mine: _Mine
    slices: Path | None
    labels: Path | None
    edits: bool
    dims: list[int] | None
    bits: list[int] | None


def audit(
    corpus: Annotated[
        Path,
        typer.Argument(help="An index, texts (.jsonl, .tsv, .csv, .txt), or vectors (.npy, …)."),
    ],
    queries: Annotated[Path, typer.Argument(help="Queries: texts, or vectors of that model.")],
    qrels: Annotated[
        Path | None,
        typer.Option(metavar="TSV", help="Relevant documents: query-id, corpus-id, score."),
    ] = None,
    hard_negatives: Annotated[
        Path | None,
        typer.Option(metavar="TSV", help="query-id, positive-id, negative-id, and maybe kind."),
    ] = None,
    mine: Annotated[
        _Mine,
        typer.Option(
            help="With --qrels and without --hard-negatives, where these come from: wrong answers "
            "of both sides (union), BM25 (words), or nowhere (none)."
        ),
    ] = _Mine.UNION,
    slices: Annotated[
        Path | None,
        typer.Option(
            metavar="TSV",
            help="query-id, then a column per slice; one called frequency says how often a query "
            "is asked.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="TSV", help="corpus-id, then its class: for few-shot checks."),
    ] = None,
    noisy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The queries once more, in their order, as disturbed."),
    ] = None,
    strangers: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Queries of another kind than those asked."),
    ] = None,
    edits: Annotated[
        bool,
        typer.Option(
            "--edits/--no-edits",
            help="Encode up to 300 queries with typing errors, and up to 800 documents with one "
            "detail made wrong, where texts and a model are given.",
        ),
    ] = True,
    model: options.Maker = None,
    base_url: options.BaseUrl = None,
    key: options.Key = None,
    text_column: options.TextColumn = None,
    dims: Annotated[
        list[int] | None, typer.Option(metavar="N", help="Repeat for several; else halvings.")
    ] = None,
    bits: Annotated[
        list[int] | None, typer.Option(metavar="N", help="32, 8, 4, 2 or 1; else 32, 8 and 1.")
    ] = None,
    retention: Annotated[
        float | None, typer.Option(help="Least share of nDCG@10 to be kept; else 0.98.")
    ] = None,
    overlap: Annotated[
        float | None, typer.Option(help="Without --qrels, of the first ten; else 0.9.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Equal input and seed give an equal report.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FOLDER", help="For report.json and report.html."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="XML", help="Also write the verdicts as JUnit XML.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="JSON", help="Show what changed since that report.")
    ] = None,
    fail_on_fail: Annotated[
        bool,
        typer.Option("--fail-on-fail", help="Exit with 1 if a variant that is no control FAILs."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Say how small vectors may go, and where they break, by queries of your own.

    Every variant PASSes, FAILs, or lacks queries to tell, and then it is said how many it takes.

    Examples:
      nestvec audit corpus.jsonl queries.jsonl --qrels qrels/test.tsv -o audit
      nestvec audit corpus.npy queries.npy --dims 64 --dims 128 --bits 1 --fail-on-fail
      nestvec audit corpus.nv queries.npy --compare audit/report.json
    """
    from nestvec.auditing.reporting.report import AuditReport

    old = None if compare is None else AuditReport.load(compare)
    if out is not None:
        for module in ("jinja2", "vl_convert"):
            require(module, "audit")
    if junit is not None:
        _check_place(junit)
    disturbed = {"noisy": noisy, "strangers": strangers}
    encoder = encoder_choice(model, base_url)
    files = CorpusAndQueries(corpus, queries, encoder, out, bar, key, text_column)
    given = AuditFiles.read(files, disturbed)
    if given.encoder is None:
        reject_unused("without texts; vectors cannot be edited", {"--no-edits": not edits})
    elif edits:
        note("edited texts are encoded too; --no-edits leaves them out")
    asked = _Asked(qrels, hard_negatives, mine, slices, labels, edits, dims, bits)
    limits = {"retention": retention, "overlap": overlap}
    report = _run(given, asked, limits, seed, out)
    if out is not None:
        _save(report, out)
    else:
        given.forget()
    if junit is not None:
        report.save_junit(junit)
    changes = None if old is None else report.compare(old)
    if json:
        print_json(report.to_json() | ({} if changes is None else {"changes": changes}))
    else:
        _print(report, changes)
    if fail_on_fail and report.failed_variants:
        raise typer.Exit(FAILED)


def _run(
    given: AuditFiles,
    asked: _Asked,
    limits: Mapping[str, float | None],
    seed: int,
    out: Path | None,
) -> "AuditReport":
    from nestvec.auditing import StressOptions
    from nestvec.auditing import audit as run
    from nestvec.auditing.compression.variants import product
    from nestvec.data import read_columns, read_qrels, read_triplets

    ids, query_ids = given.ids, given.query_ids
    both = query_ids, ids
    slices = _if_given(asked.slices, lambda path: read_columns(path, "query-id", query_ids)) or {}
    frequencies = slices.pop("frequency", None)
    labels = _if_given(asked.labels, lambda path: read_columns(path, "corpus-id", ids))
    stress = StressOptions(
        slices=slices,
        frequencies=None if frequencies is None else _whole(frequencies),
        perturbed=given.noisy(),
        out_of_distribution=given.strangers(),
        labels=None if labels is None else next(iter(labels.values())),
    )
    report = run(
        given.documents if isinstance(given.documents, Index) else given.documents.vectors,
        given.queries.vectors,
        _if_given(asked.qrels, lambda path: read_qrels(path, *both)),
        _if_given(asked.hard_negatives, lambda path: read_triplets(path, *both)),
        product(given.documents.vectors.shape[1], asked.dims, asked.bits)
        if asked.dims or asked.bits
        else None,
        ids=ids,
        query_ids=query_ids,
        mine_hard_negatives=None if asked.mine is _Mine.NONE else asked.mine.value,
        texts=given.texts(asked.edits),
        stress=stress,
        thresholds={name: value for name, value in limits.items() if value is not None},
        seed=seed,
        progress=bar,
        checkpoint=out,
    )
    return report.with_provenance(
        shlex.join(["nestvec", *sys.argv[1:]]), datetime.now(timezone.utc)
    )


def _if_given(path: Path | None, read: Callable[[Path], T]) -> T | None:
    return None if path is None else read(path)


def _whole(column: Sequence[str]) -> list[int]:
    try:
        return [int(value) for value in column]
    except ValueError as e:
        raise DataError(f"the column frequency holds no whole numbers ({e})") from None


def _check_place(path: Path) -> None:
    """`DataError` where no file can be written, said before the audit; its folder is made."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file for the JUnit XML")
    path.parent.mkdir(parents=True, exist_ok=True)


def _save(report: "AuditReport", folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    report.save_json(folder / "report.json")
    report.save_html(folder / "report.html")


def _print(report: "AuditReport", changes: list[dict[str, Any]] | None) -> None:
    from nestvec.auditing.reporting.table import COLUMNS, conclusions, notable_checks, variant_cells

    content = report.to_json()
    for check in notable_checks(content):
        note(check)
    print_table(COLUMNS, variant_cells(content))
    print()
    for line in conclusions(content):
        print(line)
    if changes is not None:
        print()
        print_table(_CHANGES, [_change_cells(change) for change in changes])


def _change_cells(change: Mapping[str, Any]) -> tuple[str, ...]:
    metrics = ", ".join(
        f"{name} {_number(values['old'])} → {_number(values['new'])}"
        for name, values in sorted(change["changed_metrics"].items())
    )
    return change["name"], change["old"], change["new"], shorten(metrics, _SHOWN_CHARS)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
