"""Sections of the page; a section appears only if the report has content for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from nestvec.auditing.reporting.formatting import format_ratio, format_size, series_label
from nestvec.auditing.reporting.page import comparisons, provenance
from nestvec.auditing.reporting.page.charts import ChartPoint, chart_by_dims
from nestvec.auditing.reporting.page.components import Cell, Chart, Section, Table, estimate_cell
from nestvec.auditing.reporting.page.metrics import (
    FEW_SHOT,
    FIDELITY,
    GROUPS,
    HARD_NEGATIVES,
    POISONING,
    RELEVANCE,
    Metric,
    MetricGroup,
    describe_reason,
    metric_thresholds,
    metric_title,
)
from nestvec.auditing.reporting.page.summary import VERDICT_CLASSES
from nestvec.auditing.reporting.page.variant_rows import (
    VariantRow,
    example_variant,
    full_size_bytes,
    read_estimates,
    without_controls,
)
from nestvec.statistics import Estimate

Content = Mapping[str, Any]

_SLICE_METRICS = {"slice_retention", "slice_interaction"}
_MAX_CHARTS = 2
"""Metrics of a group that get a chart; a table has them all."""


def build_sections(report: Content, rows: Sequence[VariantRow]) -> tuple[Section, ...]:
    """Build the sections that the report has content for, verdicts first, inputs last."""
    example = example_variant(report, rows)
    sections = (
        _sizes_section(report, rows),
        _metrics_section(RELEVANCE, report, rows),
        _metrics_section(FIDELITY, report, rows),
        _metrics_section(HARD_NEGATIVES, report, rows),
        comparisons.kinds_section(rows, example),
        comparisons.growth_section(rows, example),
        comparisons.stress_section(rows, example),
        comparisons.slices_section(rows, example),
        comparisons.asymmetry_section(report),
        comparisons.controls_section(rows),
        _metrics_section(FEW_SHOT, report, rows),
        _metrics_section(POISONING, report, rows),
        _other_metrics_section(rows),
        provenance.preflight_section(report, rows),
        provenance.worst_queries_section(report, example),
        provenance.thresholds_section(report),
        provenance.command_section(report),
        provenance.inputs_section(report),
    )
    return tuple(section for section in sections if section is not None)


def _sizes_section(report: Content, rows: Sequence[VariantRow]) -> Section | None:
    if not rows:
        return None
    full = full_size_bytes(report)
    variants = Table(
        "All variants",
        ("variant", "size", "times smaller", "verdict", "reason"),
        [
            (
                Cell(row.name),
                Cell(format_size(row.size_bytes)),
                Cell(format_ratio(full / row.size_bytes)),
                Cell(row.verdict, VERDICT_CLASSES[row.verdict]),
                Cell("; ".join(map(describe_reason, row.reasons)), "text", _control_note(row)),
            )
            for row in rows
        ],
        folded=True,
    )
    return Section(
        "sizes",
        "Safe sizes",
        lead=_knee_sentence(report.get("knee")),
        tables=[
            _verdict_table([row for row in without_controls(rows) if row.plan is None]),
            _safe_dims_table(report),
            _plans_table([row for row in rows if row.plan is not None]),
            variants,
        ],
    )


def _knee_sentence(knee: Mapping[str, Any] | None) -> str:
    if knee is None:
        return ""
    sentence = f"{knee['message'][0].upper()}{knee['message'][1:]}."
    return f"{sentence} This is for orientation only." if knee["stable"] else sentence


def _control_note(row: VariantRow) -> str:
    return "" if row.control is None else f"control: {row.control}"


def _safe_dims_table(report: Content) -> Table:
    return Table(
        "Safe dimensions: the fewest that pass together with all larger sizes",
        ("precision", "safe from", "tested"),
        [
            (
                Cell(series_label(entry)),
                Cell("none" if entry["dims"] is None else f"{entry['dims']} dimensions"),
                Cell(", ".join(map(str, entry["tested"]))),
            )
            for entry in report.get("safe_dims") or ()
        ],
    )


def _verdict_table(rows: Sequence[VariantRow]) -> Table:
    """Tabulate verdicts by dimensions and series."""
    series = list(dict.fromkeys(row.series for row in sorted(rows, key=lambda r: -r.size_bytes)))
    by_place = {(row.dims, row.series): row for row in rows}
    return Table(
        "Verdict and size of a vector, by dimensions and precision",
        ("dimensions", *series),
        [
            (Cell(str(dims)), *(_verdict_cell(by_place.get((dims, name))) for name in series))
            for dims in sorted({row.dims for row in rows})
        ],
    )


def _plans_table(rows: Sequence[VariantRow]) -> Table:
    return Table(
        "Search plans, run by the store: bytes of codes that they read per vector, and verdict",
        ("plan", "codes", "verdict"),
        [
            (
                Cell(str(row.plan)),
                Cell(format_size(row.size_bytes)),
                Cell(row.verdict, VERDICT_CLASSES[row.verdict]),
            )
            for row in rows
        ],
    )


def _verdict_cell(row: VariantRow | None) -> Cell:
    if row is None:
        return Cell("")
    return Cell(row.verdict, VERDICT_CLASSES[row.verdict], format_size(row.size_bytes))


def _metrics_section(
    group: MetricGroup, report: Content, rows: Sequence[VariantRow]
) -> Section | None:
    """Draw the first metrics of a group over the dimensions, and tabulate all of them."""
    metrics = [m for m in group.metrics if any(m.name in row.metrics for row in rows)]
    if not metrics:
        return None
    limits = metric_thresholds(report.get("thresholds", {}))
    baseline = read_estimates(report.get("full", {}).get("metrics", {}))
    names = [metric.name for metric in metrics]
    return Section(
        group.id,
        group.title,
        lead=group.lead,
        charts=[
            _dims_chart(metric, rows, limits.get(metric.name)) for metric in metrics[:_MAX_CHARTS]
        ],
        tables=[_metrics_table(f"{group.title}, in numbers", names, rows, baseline)],
    )


def _dims_chart(metric: Metric, rows: Sequence[VariantRow], limit: float | None) -> Chart:
    points = [
        ChartPoint(row.dims, row.series, row.name, row.metrics[metric.name])
        for row in sorted(without_controls(rows), key=lambda row: (row.plan or "", -row.size_bytes))
        if metric.name in row.metrics
    ]
    threshold = "" if limit is None else f"; the dotted line is the threshold, {limit:g}"
    caption = f"{metric.title}, by dimensions{threshold}."
    return Chart(caption, chart_by_dims(points, metric.title, limit))


def _other_metrics_section(rows: Sequence[VariantRow]) -> Section | None:
    """Tabulate the metrics that no other section shows, so that the page has every number."""
    shown_elsewhere = {metric.name for group in GROUPS for metric in group.metrics} | _SLICE_METRICS
    all_names = dict.fromkeys(name for row in rows for name in row.metrics)
    names = [name for name in all_names if name.partition(":")[0] not in shown_elsewhere]
    if not names:
        return None
    return Section(
        "other-metrics",
        "Other metrics",
        tables=[_metrics_table("Everything else that was measured", names, rows, {})],
    )


def _metrics_table(
    caption: str,
    names: Sequence[str],
    rows: Sequence[VariantRow],
    baseline: Mapping[str, Estimate],
) -> Table:
    """Tabulate metrics by variant, below the baseline if it has any of them."""
    entries = [("full vectors", baseline), *((row.name, row.metrics) for row in rows)]
    return Table(
        caption,
        ("variant", *(metric_title(name) for name in names)),
        [
            (Cell(label), *(estimate_cell(metrics.get(name)) for name in names))
            for label, metrics in entries
            if metrics.keys() & set(names)
        ],
        folded=True,
    )
