"""`nestvec audit`: by how much vectors can be compressed before queries are answered worse."""

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
from nestvec.cli.model import encoder_choice, encoder_options
from nestvec.cli.output import Columns, note, print_json, print_table, shorten
from nestvec.cli.renamed import choices, renamed_choices
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


class HardNegativeSourceOption(str, Enum):
    """Methods of mining hard negatives."""

    UNION = "union"
    BM25 = "bm25"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class _AuditRequest:
    """Options of the command beside the vectors and the thresholds."""

    qrels: Path | None
    hard_negatives: Path | None
    mine: HardNegativeSourceOption
    slices: Path | None
    labels: Path | None
    counterfactuals: bool
    dims: list[int] | None
    bits: list[int] | None
    plans: list[str] | None


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
        HardNegativeSourceOption,
        typer.Option(
            parser=renamed_choices("--mine", HardNegativeSourceOption, {"words": "bm25"}),
            metavar=choices(HardNegativeSourceOption),
            help="With --qrels and without --hard-negatives, how these are mined: wrong documents "
            "that either ranking has high (union), by BM25 on texts (bm25), or not at all (none).",
        ),
    ] = HardNegativeSourceOption.UNION,
    slices: Annotated[
        Path | None,
        typer.Option(
            metavar="TSV",
            help="query-id, then a column per slice; a column called frequency holds how often "
            "each query occurs.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="TSV", help="corpus-id, then its class: for few-shot checks."),
    ] = None,
    perturbed: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The same queries in the same order, perturbed."),
    ] = None,
    ood_queries: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Out-of-distribution queries, without judgments."),
    ] = None,
    counterfactuals: Annotated[
        bool,
        typer.Option(
            "--counterfactuals/--no-counterfactuals",
            help="With texts, encode up to 300 queries with typing errors and, with --qrels and "
            "texts of documents, up to 800 documents with one detail made wrong.",
        ),
    ] = True,
    model: options.Maker = None,
    base_url: options.BaseUrl = None,
    query_prompt: options.QueryPrompt = None,
    document_prompt: options.DocumentPrompt = None,
    trust_remote_code: options.TrustRemoteCode = False,
    header: options.Header = None,
    key: options.Key = None,
    text_column: options.TextColumn = None,
    dims: Annotated[
        list[int] | None, typer.Option(metavar="N", help="Repeat for several; else halvings.")
    ] = None,
    bits: Annotated[
        list[int] | None, typer.Option(metavar="N", help="32, 8, 4, 2 or 1; else 32, 8 and 1.")
    ] = None,
    plan: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLAN",
            help="Of an index, also audit the hits of a search plan, or of its default one "
            "(default). Repeat for several; without --dims and --bits, plans alone.",
        ),
    ] = None,
    retention: Annotated[
        float | None, typer.Option(help="Least retention of nDCG@10; else 0.98.")
    ] = None,
    overlap: Annotated[
        float | None, typer.Option(help="Without --qrels, least overlap of the first 10; else 0.9.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Equal input and seed give an equal report.")
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="For report.json and report.html."),
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
    """Measure by how much vectors can be compressed, and where they fail, on your queries.

    The verdict of each variant is PASS, FAIL or INSUFFICIENT DATA, with the number of queries that
    would decide.

    Examples:
      nestvec audit corpus.jsonl queries.jsonl --qrels qrels/test.tsv -o audit
      nestvec audit corpus.npy queries.npy --dims 64 --dims 128 --bits 1 --fail-on-fail
      nestvec audit corpus.nv queries.npy --compare audit/report.json
      nestvec audit corpus.nv queries.npy --plan default --plan 'probe=8; 64x1:100 > full'
    """
    from nestvec.auditing.reporting.report import AuditReport

    previous = None if compare is None else AuditReport.load(compare)
    if output is not None:
        for module in ("jinja2", "vl_convert"):
            require(module, "audit")
    if junit is not None:
        _prepare_file(junit)
    other_queries = {"perturbed": perturbed, "out_of_distribution": ood_queries}
    of_encoder = encoder_options(query_prompt, document_prompt, trust_remote_code, header)
    encoder = encoder_choice(model, base_url, of_encoder)
    paths = CorpusAndQueries(corpus, queries, encoder, output, bar, key, text_column)
    files = AuditFiles.load(paths, other_queries)
    if files.encoder is None:
        reason = "without texts; vectors cannot be edited"
        reject_unused(reason, {"--no-counterfactuals": not counterfactuals})
    elif counterfactuals and (edited := files.edited_texts(qrels is not None)):
        note(f"{' and '.join(edited)} are encoded too; --no-counterfactuals leaves them out")
    request = _AuditRequest(
        qrels, hard_negatives, mine, slices, labels, counterfactuals, dims, bits, plan
    )
    thresholds = {"retention": retention, "overlap": overlap}
    report = _run_audit(files, request, thresholds, seed, output)
    if output is not None:
        _save(report, output)
    else:
        files.remove_encoded()
    if junit is not None:
        report.save_junit(junit)
    changes = None if previous is None else report.compare(previous)
    if json:
        print_json(report.to_json() | ({} if changes is None else {"changes": changes}))
    else:
        _print(report, changes)
    if fail_on_fail and report.failed_variants:
        raise typer.Exit(FAILED)


def _run_audit(
    files: AuditFiles,
    request: _AuditRequest,
    thresholds: Mapping[str, float | None],
    seed: int,
    output: Path | None,
) -> "AuditReport":
    from nestvec.auditing import StressOptions
    from nestvec.auditing import audit as audit_vectors
    from nestvec.data import read_columns, read_qrels, read_triplets

    ids, query_ids = files.ids, files.query_ids
    id_lists = query_ids, ids
    slices = _if_set(request.slices, lambda path: read_columns(path, "query-id", query_ids)) or {}
    frequencies = slices.pop("frequency", None)
    labels = _if_set(request.labels, lambda path: read_columns(path, "corpus-id", ids))
    stress = StressOptions(
        slices=slices,
        frequencies=None if frequencies is None else _whole_numbers(frequencies),
        perturbed=files.perturbed(),
        out_of_distribution=files.out_of_distribution(),
        labels=None if labels is None else next(iter(labels.values())),
    )
    report = audit_vectors(
        files.documents if isinstance(files.documents, Index) else files.documents.vectors,
        files.queries.vectors,
        _if_set(request.qrels, lambda path: read_qrels(path, *id_lists)),
        _if_set(request.hard_negatives, lambda path: read_triplets(path, *id_lists)),
        _variants(request, files.documents.vectors.shape[1]),
        ids=ids,
        query_ids=query_ids,
        mine_hard_negatives=None
        if request.mine is HardNegativeSourceOption.NONE
        else request.mine.value,
        texts=files.texts(request.counterfactuals),
        stress=stress,
        thresholds={name: value for name, value in thresholds.items() if value is not None},
        seed=seed,
        progress=bar,
        checkpoint=output,
    )
    return report.with_provenance(
        shlex.join(["nestvec", *sys.argv[1:]]), datetime.now(timezone.utc)
    )


def _variants(request: _AuditRequest, width: int) -> list[dict[str, Any]] | None:
    """Variants by the options of the command; None: the default grid."""
    from nestvec.auditing.compression.variants import product

    has_sizes = bool(request.dims or request.bits)
    sizes = product(width, request.dims, request.bits) if has_sizes else []
    return [*sizes, *({"plan": plan} for plan in request.plans or ())] or None


def _if_set(path: Path | None, read: Callable[[Path], T]) -> T | None:
    return None if path is None else read(path)


def _whole_numbers(column: Sequence[str]) -> list[int]:
    try:
        return [int(value) for value in column]
    except ValueError as e:
        raise DataError(f"the column frequency holds no whole numbers ({e})") from None


def _prepare_file(path: Path) -> None:
    """Make the folder of a file; `DataError` where no file can be written, before the audit."""
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
