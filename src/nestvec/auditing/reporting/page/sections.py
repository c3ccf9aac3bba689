"""The sections of the page, each there only if the report has something to put into it."""

from collections.abc import Mapping, Sequence
from typing import Any

from nestvec.auditing.reporting.page import comparisons, figures, provenance
from nestvec.auditing.reporting.page.charts import Point, by_dims
from nestvec.auditing.reporting.page.metrics import (
    GROUPS,
    Group,
    Metric,
    in_words,
    limits,
    title_of,
)
from nestvec.auditing.reporting.page.parts import Cell, Chart, Section, Table, estimate_cell
from nestvec.auditing.reporting.page.rows import (
    Row,
    candidates,
    family_of,
    featured,
    full_bytes,
    read_estimates,
)
from nestvec.auditing.reporting.page.summary import KINDS
from nestvec.statistics import Estimate

Report = Mapping[str, Any]

_SLICED = {"slice_retention", "slice_interaction"}
_DRAWN = 2
"""So many metrics of a group get a chart; a table has them all."""


def build_sections(report: Report, rows: Sequence[Row]) -> tuple[Section, ...]:
    """What is there, in the order in which a reader asks."""
    shown = featured(report, rows)
    sections = (
        _sizes(report, rows),
        *(_measured(group, report, rows) for group in GROUPS),
        comparisons.kinds(rows, shown),
        comparisons.growth(rows, shown),
        comparisons.stress(rows, shown),
        comparisons.slices(rows, shown),
        comparisons.asymmetry(report),
        comparisons.controls(rows),
        _others(rows),
        provenance.preflight(report, rows),
        provenance.worst_queries(report, shown),
        provenance.thresholds(report),
        provenance.rerun(report),
        provenance.inputs(report),
    )
    return tuple(section for section in sections if section is not None)


def _sizes(report: Report, rows: Sequence[Row]) -> Section | None:
    """Verdicts at a glance, then every variant with its reasons."""
    if not rows:
        return None
    full = full_bytes(report)
    every = Table(
        "Every variant",
        ("variant", "bytes", "times smaller", "verdict", "why"),
        [
            (
                Cell(row.name),
                Cell(figures.size(row.size_bytes)),
                Cell(figures.times(full / row.size_bytes)),
                Cell(row.verdict, KINDS[row.verdict]),
                Cell("; ".join(map(in_words, row.reasons)), "text", row.control or ""),
            )
            for row in rows
        ],
        folded=True,
    )
    knee = report.get("knee") or {}
    return Section(
        "sizes",
        "Which sizes are safe",
        lead=f"For orientation: {knee['said']}." if "said" in knee else "",
        tables=[_verdicts(candidates(rows)), _safe_dims(report), every],
    )


def _safe_dims(report: Report) -> Table:
    """The answer per series: what passed with all that is larger."""
    return Table(
        "Smallest dimensions that pass with all larger ones",
        ("precision", "safe from", "tested"),
        [
            (
                Cell(family_of(found)),
                Cell("none" if found["dims"] is None else f"{found['dims']} dimensions"),
                Cell(", ".join(map(str, found["tested"]))),
            )
            for found in report.get("safe_dims") or ()
        ],
    )


def _verdicts(rows: Sequence[Row]) -> Table:
    """Dimensions by families."""
    families = list(dict.fromkeys(row.family for row in sorted(rows, key=lambda r: -r.size_bytes)))
    found = {(row.dims, row.family): row for row in rows}
    return Table(
        "Verdicts, and the bytes of a vector",
        ("dimensions", *families),
        [
            (Cell(str(dims)), *(_verdict_cell(found.get((dims, f))) for f in families))
            for dims in sorted({row.dims for row in rows})
        ],
    )


def _verdict_cell(row: Row | None) -> Cell:
    if row is None:
        return Cell("")
    return Cell(row.verdict, KINDS[row.verdict], figures.size(row.size_bytes))


def _measured(group: Group, report: Report, rows: Sequence[Row]) -> Section | None:
    """A group's metrics over the dimensions, and all of them in a table."""
    metrics = [m for m in group.metrics if any(m.name in row.metrics for row in rows)]
    if not metrics:
        return None
    limit = limits(report.get("thresholds", {}))
    full = read_estimates(report.get("full", {}).get("metrics", {}))
    names = [metric.name for metric in metrics]
    return Section(
        group.id,
        group.title,
        lead=group.lead,
        charts=[_chart(metric, rows, limit.get(metric.name)) for metric in metrics[:_DRAWN]],
        tables=[_numbers(f"{group.title}, in numbers", names, rows, full)],
    )


def _chart(metric: Metric, rows: Sequence[Row], limit: float | None) -> Chart:
    points = [
        Point(row.dims, row.family, row.name, row.metrics[metric.name])
        for row in sorted(candidates(rows), key=lambda row: -row.size_bytes)
        if metric.name in row.metrics
    ]
    at = "" if limit is None else f"; the dotted line is the threshold, {limit:g}"
    return Chart(f"{metric.title}, by dimensions{at}.", by_dims(points, metric.title, limit))


def _others(rows: Sequence[Row]) -> Section | None:
    """What has no chart of its own: no number of the report is left out."""
    grouped = {metric.name for group in GROUPS for metric in group.metrics}
    measured = dict.fromkeys(name for row in rows for name in row.metrics)
    names = [name for name in measured if name.partition(":")[0] not in grouped | _SLICED]
    if not names:
        return None
    return Section(
        "other-numbers",
        "Other numbers",
        tables=[_numbers("What else was measured, in numbers", names, rows, {})],
    )


def _numbers(
    caption: str, names: Sequence[str], rows: Sequence[Row], full: Mapping[str, Estimate]
) -> Table:
    """Variants by metrics; the full vectors first, where they have any of these."""
    listed = [("full vectors", full), *((row.name, row.metrics) for row in rows)]
    return Table(
        caption,
        ("variant", *(title_of(name) for name in names)),
        [
            (Cell(name), *(estimate_cell(found.get(metric)) for metric in names))
            for name, found in listed
            if found.keys() & set(names)
        ],
        folded=True,
    )
