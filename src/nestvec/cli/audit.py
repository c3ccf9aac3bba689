"""`nestvec audit`: how small vectors may go before queries are answered worse."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestvec.cli import options
from nestvec.cli.material import Material
from nestvec.cli.output import Columns, note, print_json, print_table, shorten, size
from nestvec.cli.sides import Sides, forget, ids_of
from nestvec.extras import require
from nestvec.index import Index
from nestvec.progress import bar

if TYPE_CHECKING:
    from nestvec.audit.report import Report

FAILED = 1
_SHOWN_CHARS = 100
_COLUMNS: Columns = {
    "variant": "left", "B/vector": "right", "verdict": "left", "measure": "left",
    "value": "right", "95 %": "right", "queries needed": "right",
}  # fmt: skip
_CHANGES: Columns = {"variant": "left", "before": "left", "after": "left", "moved": "left"}
_SHOWN = ("ndcg@10_retention", "overlap_with_ties@10")
"""What a verdict is about: the first of these that a variant has."""


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
    model: options.Maker = None,
    base_url: options.BaseUrl = None,
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
    seed: Annotated[int, typer.Option(help="Equal input and seed give an equal report.")] = 0,
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
    from nestvec.audit.report import Report

    old = None if compare is None else Report.load(compare)
    if out is not None:
        for module in ("jinja2", "vl_convert"):
            require(module, "audit")
    given, asked = Sides(corpus, queries, model, base_url, out).read()
    limits = {"retention": retention, "overlap": overlap}
    report = _run(given, asked, (qrels, hard_negatives), (dims, bits), limits, seed)
    if out is not None:
        _save(report, out)
    else:
        forget(given, asked)
    if junit is not None:
        report.save_junit(junit)
    changes = None if old is None else report.compare(old)
    if json:
        print_json(report.to_json() | ({} if changes is None else {"changes": changes}))
    else:
        _print(report, changes)
    if fail_on_fail and report.failed:
        raise typer.Exit(FAILED)


def _run(
    given: Index | Material,
    asked: Material,
    labels: tuple[Path | None, Path | None],
    grid: tuple[list[int] | None, list[int] | None],
    limits: Mapping[str, float | None],
    seed: int,
) -> "Report":
    from nestvec.audit import audit as run
    from nestvec.audit.variants import product
    from nestvec.data import read_qrels, read_triplets

    ids = ids_of(given)
    query_ids = ids_of(asked)
    qrels, hard = labels
    dims, bits = grid
    report = run(
        given if isinstance(given, Index) else given.vectors,
        asked.vectors,
        None if qrels is None else read_qrels(qrels, query_ids, ids),
        None if hard is None else read_triplets(hard, query_ids, ids),
        product(given.vectors.shape[1], dims, bits) if dims or bits else None,
        ids=ids,
        query_ids=query_ids,
        thresholds={name: value for name, value in limits.items() if value is not None},
        seed=seed,
        progress=bar,
    )
    return report.with_command(shlex.join(["nestvec", *sys.argv[1:]]))


def _save(report: "Report", folder: Path) -> None:
    from nestvec.audit.page import save_html

    folder.mkdir(parents=True, exist_ok=True)
    report.save_json(folder / "report.json")
    save_html(report.to_json(), folder / "report.html")


def _print(report: "Report", changes: list[dict[str, Any]] | None) -> None:
    content = report.to_json()
    for check in content["preflight"]:
        if check["status"] in ("warning", "fail"):
            note(f"{check['status']}: {check['said']}")
    print_table(_COLUMNS, [_row(one) for one in content["variants"]])
    print()
    for safe in content["safe_dims"]:
        dims = "no size" if safe["dims"] is None else f"{safe['dims']} dims"
        rescored = f", rescored {safe['rescore']}" if safe["rescore"] else ""
        bits = "1 bit" if safe["bits"] == 1 else f"{safe['bits']} bits"
        print(f"safe at {bits}{rescored}: {dims}")
    if content["knee"] is not None:
        print(content["knee"]["said"])
    if changes is not None:
        print()
        print_table(_CHANGES, [_change(one) for one in changes])


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    shown = next((name for name in _SHOWN if name in one["metrics"]), None)
    measure = {} if shown is None else one["metrics"][shown]
    needed = one["queries_needed"]
    ends = [_number(measure.get(end)) for end in ("low", "high")]
    return (
        one["name"] + (" (control)" if one["control"] else ""),
        size(one["bytes"]),
        one["verdict"],
        shown or "",
        _number(measure.get("value")),
        " to ".join(ends),
        "" if needed is None else f"{needed:,}",
    )


def _change(one: Mapping[str, Any]) -> tuple[str, ...]:
    moved = ", ".join(
        f"{name} {_number(values['before'])} → {_number(values['after'])}"
        for name, values in sorted(one["moved"].items())
    )
    return one["name"], one["before"], one["after"], shorten(moved, _SHOWN_CHARS)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
