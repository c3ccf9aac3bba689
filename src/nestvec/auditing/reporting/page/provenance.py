"""Sections that say why the numbers may be trusted: preflight, worst queries, inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

from nestvec.auditing.reporting.formatting import format_number
from nestvec.auditing.reporting.page.components import Cell, Section, Table
from nestvec.auditing.reporting.page.variant_rows import VariantRow, read_checks
from nestvec.auditing.types import PreflightCheck

Content = Mapping[str, Any]

_STATUS_CLASSES = {"ok": "pass", "warning": "wait", "fail": "fail", "skipped": ""}
_THRESHOLD_LABELS = {
    "retention": "nDCG@10 retention, at least",
    "overlap": "overlap@10 with the baseline, at least (without relevance judgments)",
    "net_flips": "net flips of hard negatives, at most",
    "excess_fragility": "excess fragility, at least",
    "confidence": "confidence of every PASS, one-sided, shared among all series",
    "min_queries": "queries, at least; with fewer, no verdict but INSUFFICIENT DATA",
}
_INPUT_LABELS = {
    "unit": "unit vectors",
    "judgments": "relevance judgments",
    "judged_queries": "queries with relevance judgments",
    "hard_negatives": "hard negatives, the same for all variants",
    "hard_negative_source": "source of the hard negatives",
    "counterfactual_documents": "edited documents (counterfactuals)",
    "perturbed_queries": "queries that were perturbed",
    "out_of_distribution_queries": "out-of-distribution queries",
    "classes": "classes of documents",
    "groups": "groups of queries",
    "self_matches": "queries that are documents themselves (self-matches)",
}
_SOURCE_LABELS = {
    "user": "supplied with the data",
    "union": "wrong results of the baseline and of the variant",
    "bm25": "wrong results of BM25",
    "external": "wrong results of another encoder's vectors",
}


def preflight_section(report: Content, rows: Sequence[VariantRow]) -> Section | None:
    """List the checks that come before any statistics; of variants, warnings and failures only."""
    checks = read_checks(report.get("preflight", ()))
    notable = [
        (row.name, check)
        for row in rows
        for check in row.checks
        if check.status not in ("ok", "skipped")
    ]
    if not checks and not notable:
        return None
    input_checks = Table(
        "Checks of the inputs and of the audit itself",
        ("check", "result", "observation"),
        [(Cell(check.name), *_check_cells(check)) for check in checks],
    )
    variant_checks = Table(
        "Warnings and failures of single variants",
        ("variant", "check", "result", "observation"),
        [(Cell(name), Cell(check.name), *_check_cells(check)) for name, check in notable],
    )
    return Section(
        "preflight",
        "Preflight",
        lead="Most losses that are blamed on small vectors are mistakes in how the vectors were "
        "made. These checks look for such mistakes before anything is measured.",
        tables=[input_checks, variant_checks],
    )


def worst_queries_section(report: Content, example: VariantRow | None) -> Section | None:
    """List the queries that lose most with the example variant, with both rankings."""
    worst = report.get("worst_queries", {}).get(example.name, ()) if example else ()
    if example is None or not worst:
        return None
    columns = (
        "query",
        "baseline score",
        "variant score",
        "baseline's first ten",
        "variant's first ten",
        "relevant",
    )
    return Section(
        "worst-queries",
        "Worst queries",
        lead=f"The queries that lose most with {example.name}, and both rankings. Read some of "
        "them: they show what a mean hides.",
        tables=[
            Table(
                "Queries, the largest loss first", columns, [_worst_cells(query) for query in worst]
            ),
            _texts_table(report.get("texts", {}), worst),
        ],
    )


def thresholds_section(report: Content) -> Section | None:
    """List the thresholds of the verdicts."""
    if not report.get("thresholds"):
        return None
    rows = [
        (Cell(_THRESHOLD_LABELS.get(name, name.replace("_", " "))), Cell(f"{value:g}"))
        for name, value in report["thresholds"].items()
    ]
    return Section(
        "thresholds",
        "Thresholds",
        lead="These are conventions, not science. Choose what your application can bear before "
        "you look at the results.",
        tables=[Table("Requirements for PASS", ("requirement", "value"), rows)],
    )


def command_section(report: Content) -> Section | None:
    """Show the command that produces the report again."""
    if not report.get("command"):
        return None
    version = f"nestvec {report['nestvec']} and " if "nestvec" in report else ""
    lead = f"With {version}seed {report['seed']}, the same inputs give the same numbers."
    return Section("rerun", "Reproduce this report", lead=lead, code=report["command"])


def inputs_section(report: Content) -> Section | None:
    """List the sizes of the inputs, and the hashes that tell other inputs apart."""
    rows = [
        (Cell(_INPUT_LABELS.get(name, name.replace("_", " "))), *_input_cells(value))
        for name, value in report["inputs"].items()
        if value is not None
    ]
    table = Table("Audited data", ("input", "number", "dimensions", "SHA-256"), rows)
    return Section("inputs", "Inputs", tables=[table])


def _check_cells(check: PreflightCheck) -> tuple[Cell, Cell]:
    return Cell(check.status, _STATUS_CLASSES[check.status]), Cell(check.message, "text")


def _worst_cells(query: Mapping[str, Any]) -> Sequence[Cell]:
    baseline, variant = query["baseline_top"], query["variant_top"]
    n_shared = len(set(baseline) & set(variant))
    return (
        Cell(str(query["query"]), note=query.get("text", "")),
        Cell(format_number(query["baseline_score"])),
        Cell(format_number(query["variant_score"]), note=f"{n_shared} of {len(baseline)} shared"),
        Cell(", ".join(map(str, baseline)), "text"),
        Cell(", ".join(map(str, variant)), "text"),
        Cell(", ".join(map(str, query.get("relevant", ()))), "text"),
    )


def _texts_table(texts: Mapping[str, str], worst: Sequence[Mapping[str, Any]]) -> Table:
    """Quote the beginnings of the documents that the worst queries name first."""
    ids = dict.fromkeys(
        str(id_)
        for query in worst
        for ranking in ("baseline_top", "variant_top", "relevant")
        for id_ in query.get(ranking, ())
    )
    return Table(
        "Beginnings of these documents",
        ("document", "text"),
        [(Cell(id_), Cell(texts[id_], "text")) for id_ in ids if id_ in texts],
        folded=True,
    )


def _input_cells(value: Any) -> tuple[Cell, Cell, Cell]:
    if isinstance(value, Mapping):
        n, dim, sha256 = value["n"], value.get("dim"), value.get("sha256", "")
        return Cell(f"{n:,}"), Cell("" if dim is None else f"{dim:,}"), Cell(sha256, "hash")
    if isinstance(value, str):
        return Cell(_SOURCE_LABELS.get(value, value)), Cell(""), Cell("")
    text = ("no", "yes")[value] if isinstance(value, bool) else f"{value:,}"
    return Cell(text), Cell(""), Cell("")
