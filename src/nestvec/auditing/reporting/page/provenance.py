"""Why numbers may be trusted: the checks before them, the worst cases, and where they come from."""

from collections.abc import Mapping, Sequence
from typing import Any

from nestvec.auditing.reporting.page import figures
from nestvec.auditing.reporting.page.parts import Cell, Section, Table
from nestvec.auditing.reporting.page.rows import Row, read_checks
from nestvec.auditing.types import Check

Report = Mapping[str, Any]

_STATUS_KINDS = {"ok": "pass", "warning": "wait", "fail": "fail", "skipped": ""}
_THRESHOLDS = {
    "retention": "nDCG@10 kept, at least",
    "overlap": "the same first ten, at least, where there are no judgements",
    "net_flips": "hard negatives lost, net, at most",
    "excess_fragility": "kept on near misses over kept on random documents, at least",
    "confidence": "confidence of every PASS, one-sided, shared among all",
    "least_queries": "fewest queries that are told more than that they are too few",
}

_INPUTS = {
    "unit": "unit vectors",
    "judged_queries": "queries with judgements",
    "hard_negatives": "hard negatives, the same for all",
    "hard_negatives_by": "hard negatives are",
    "strangers": "strange queries",
}
_ORIGINS = {
    "given": "given",
    "union": "wrong answers of the full vectors and of the variant",
    "words": "wrong answers by BM25",
    "other": "wrong answers by vectors not under audit",
}


def preflight(report: Report, rows: Sequence[Row]) -> Section | None:
    """The checks that come before any statistics; of single variants, what they found."""
    checks = read_checks(report.get("preflight", ()))
    found = [(row.name, c) for row in rows for c in row.checks if c.status not in ("ok", "skipped")]
    if not checks and not found:
        return None
    given = Table(
        "Checks of what was given, and of the audit itself",
        ("check", "result", "what was seen"),
        [(Cell(check.name), *_check_cells(check)) for check in checks],
    )
    made = Table(
        "What checks of single variants found",
        ("variant", "check", "result", "what was seen"),
        [(Cell(name), Cell(check.name), *_check_cells(check)) for name, check in found],
    )
    return Section(
        "preflight",
        "Preflight",
        lead="Most losses that are blamed on small vectors are mistakes in how they were made: "
        "these checks look for them.",
        tables=[given, made],
    )


def worst_queries(report: Report, shown: Row | None) -> Section | None:
    """The queries that lose most under the variant that is shown, with both rankings."""
    worst = report.get("worst_queries", {}).get(shown.name, ()) if shown else ()
    if shown is None or not worst:
        return None
    return Section(
        "worst-queries",
        "Worst queries",
        lead=f"The queries that lose most at {shown.name}, with both rankings. Read some of them: "
        "a mean hides what they show.",
        tables=[
            Table(
                "Queries by loss",
                ("query", "before", "after", "by full vectors", f"by {shown.name}", "relevant"),
                [_worst_cells(query) for query in worst],
            ),
            _quoted(report.get("texts", {}), worst),
        ],
    )


def thresholds(report: Report) -> Section | None:
    """What a size had to keep."""
    if not report.get("thresholds"):
        return None
    rows = [
        (Cell(_THRESHOLDS.get(name, name.replace("_", " "))), Cell(f"{value:g}"))
        for name, value in report["thresholds"].items()
    ]
    return Section(
        "thresholds",
        "Thresholds",
        lead="Conventions, not science: set them to what your use can bear, before you look.",
        tables=[Table("What a PASS takes", ("what", "value"), rows)],
    )


def rerun(report: Report) -> Section | None:
    """What makes this report again."""
    if not report.get("command"):
        return None
    version = f"nestvec {report['nestvec']}, " if "nestvec" in report else ""
    lead = f"With {version}seed {report['seed']}, the same inputs give the same numbers."
    return Section("rerun", "How to run it again", lead=lead, code=report["command"])


def inputs(report: Report) -> Section | None:
    """What was audited, and the hashes that tell other inputs apart."""
    given = {name: value for name, value in report["inputs"].items() if value is not None}
    rows = [
        (Cell(_INPUTS.get(name, name.replace("_", " "))), *_input_cells(value))
        for name, value in given.items()
    ]
    table = Table("What was audited", ("what", "how many", "dimensions", "SHA-256"), rows)
    return Section("inputs", "Inputs", tables=[table])


def _check_cells(check: Check) -> tuple[Cell, Cell]:
    return Cell(check.status, _STATUS_KINDS[check.status]), Cell(check.said, "text")


def _worst_cells(query: Mapping[str, Any]) -> Sequence[Cell]:
    full, variant = query["full"], query["variant"]
    shared = len(set(full) & set(variant))
    return (
        Cell(str(query["query"]), note=query.get("text", "")),
        Cell(figures.number(query["before"])),
        Cell(figures.number(query["after"]), note=f"{shared} of {len(full)} answers left"),
        Cell(", ".join(map(str, full)), "text"),
        Cell(", ".join(map(str, variant)), "text"),
        Cell(", ".join(map(str, query.get("relevant", ()))), "text"),
    )


def _quoted(texts: Mapping[str, str], worst: Sequence[Mapping[str, Any]]) -> Table:
    """How the documents begin that these queries name first."""
    named = dict.fromkeys(
        str(id_)
        for query in worst
        for ranking in ("full", "variant", "relevant")
        for id_ in query.get(ranking, ())
    )
    return Table(
        "How these documents begin",
        ("document", "text"),
        [(Cell(id_), Cell(texts[id_], "text")) for id_ in named if id_ in texts],
        folded=True,
    )


def _input_cells(value: Any) -> tuple[Cell, Cell, Cell]:
    if isinstance(value, Mapping):
        n, dim, digest = value["n"], value.get("dim"), value.get("sha256", "")
        return Cell(f"{n:,}"), Cell("" if dim is None else f"{dim:,}"), Cell(digest, "hash")
    if isinstance(value, str):
        return Cell(_ORIGINS.get(value, value)), Cell(""), Cell("")
    said = ("no", "yes")[value] if isinstance(value, bool) else f"{value:,}"
    return Cell(said), Cell(""), Cell("")
