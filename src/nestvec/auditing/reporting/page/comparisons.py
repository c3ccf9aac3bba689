"""Sections that compare variants: kinds of hard negatives, corpus sizes, stress, controls."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from nestvec.auditing.reporting.formatting import format_size, series_label
from nestvec.auditing.reporting.page.charts import ChartPoint, chart_by_corpus_size, chart_by_name
from nestvec.auditing.reporting.page.components import Cell, Chart, Section, Table, estimate_cell
from nestvec.auditing.reporting.page.metrics import metric_title, stress_label
from nestvec.auditing.reporting.page.variant_rows import (
    VariantRow,
    read_estimate,
    without_controls,
)
from nestvec.auditing.types import COUNTERFACTUAL, Side

_MAX_RATIO = 1.5
"""Ratios are drawn up to here: far above 1 nothing is wrong."""
_RATIO_NOTE = f"the dotted line is 1; values above {_MAX_RATIO} are drawn at {_MAX_RATIO}."
_SIDES: tuple[str, ...] = get_args(Side)
_SIDE_LABELS = {
    "both": "both sides coded",
    "documents": "only documents coded",
    "queries": "only queries coded",
}
_CONTROL_METRICS = ("ndcg@10_retention", "overlap_with_ties@10")
"""Controls are compared by the first of these that was measured."""
_STRESS_METRIC = "(?!few_shot_interaction$|slice_interaction:)(.+)_interaction"


def kinds_section(rows: Sequence[VariantRow], example: VariantRow | None) -> Section | None:
    """Compare hard negatives by kind, and count those that flipped."""
    points = _points_by_group(rows, example, f"triplet_accuracy:(?!{COUNTERFACTUAL}$)(.+)")
    if len({point.position for point in points}) < 2:
        return None
    title = metric_title("triplet_accuracy")
    return Section(
        "kinds",
        "Hard negatives by kind",
        lead="If hard negatives of one kind fail before the others, test that kind more.",
        charts=[
            Chart(
                f"{title}, by kind; the dotted line is chance.", chart_by_name(points, title, 0.5)
            )
        ],
        tables=[
            _points_table(f"{title} by kind, in numbers", "kind", points),
            *([_flips_table(example)] if example else []),
        ],
    )


def growth_section(rows: Sequence[VariantRow], example: VariantRow | None) -> Section | None:
    """Draw recall in smaller corpora, which is counted, and in larger ones, extrapolated."""
    growth_rows = [row for row in rows if "corpus_growth" in row.details]
    points = [
        ChartPoint(
            point["distractors"], row.name, row.name,
            read_estimate(point["recall"]), extrapolated=point["basis"] == "modelled",
        )
        for row in _few_rows(growth_rows, example)
        for point in row.details["corpus_growth"]["curve"]
    ]  # fmt: skip
    if not points:
        return None
    title = "Recall@10 of the relevant documents, by number of distractors"
    return Section(
        "growth",
        "Corpus growth",
        lead="How many relevant documents stay among the first ten as distractors are added. Solid "
        "lines are counted in this corpus. Dashed lines are extrapolated by a model, which nobody "
        "should trust beyond ten times the corpus.",
        charts=[Chart(f"{title}.", chart_by_corpus_size(points, "recall@10"))],
        tables=[_points_table(f"{title}, in numbers", "distractors", points)],
    )


def stress_section(rows: Sequence[VariantRow], example: VariantRow | None) -> Section | None:
    """Compare retention on perturbed and difficult queries with retention on the others."""
    points = [
        ChartPoint(stress_label(str(point.position)), point.series, point.name, point.estimate)
        for point in _points_by_group(rows, example, _STRESS_METRIC)
    ]
    if not points:
        return None
    quantity = "Relative retention under stress"
    return Section(
        "stress",
        "Stress tests",
        lead="Retention on difficult queries, divided by retention on the others, or on the same "
        "queries before they were perturbed. At 1, the variant suffers as much as the full "
        "vectors do; below 1, it suffers more.",
        charts=[Chart(f"{quantity}; {_RATIO_NOTE}", _ratio_chart(points, quantity))],
        tables=[_points_table(f"{quantity}, in numbers", "stress", points)],
    )


def slices_section(rows: Sequence[VariantRow], example: VariantRow | None) -> Section | None:
    """Compare retention in the slices with retention on the other queries."""
    points = _points_by_group(rows, example, "slice_interaction:(.+)")
    if not points:
        return None
    quantity = "Retention in the slice / elsewhere"
    retentions = _points_by_group(rows, example, "slice_retention:(.+)")
    return Section(
        "slices",
        "Slices of the queries",
        lead="Below 1, a slice loses more than the other queries do, which the mean over all "
        "queries hides. Of many slices, some lie below 1 by chance: trust those whose whole "
        "interval does.",
        charts=[Chart(f"{quantity}; {_RATIO_NOTE}", _ratio_chart(points, quantity))],
        tables=[
            _points_table(f"{quantity}, in numbers", "slice", points),
            _points_table("Retention in each slice, in numbers", "slice", retentions),
        ],
    )


def asymmetry_section(report: Mapping[str, Any]) -> Section | None:
    """Compare codes on one side with codes on both."""
    entries: Sequence[Mapping[str, Any]] = report.get("asymmetry") or []
    points = [
        ChartPoint(_code_label(entry), _SIDE_LABELS[side], _code_label(entry), estimate)
        for entry in entries
        for side in _SIDES
        if entry[side] is not None
        for estimate in [read_estimate(entry[side])]
    ]
    if not points:
        return None
    title = metric_title(entries[0]["metric"])
    return Section(
        "asymmetry",
        "Codes on one side or both",
        lead="Documents take up the space; queries are few and may stay at full precision. Both "
        "sides have the same number of dimensions here.",
        charts=[Chart(f"{title}, by the side that is coded.", chart_by_name(points, title))],
        tables=[_points_table(f"{title} by side, in numbers", "code", points)],
    )


def controls_section(rows: Sequence[VariantRow]) -> Section | None:
    """Compare controls with all variants of the same size."""
    metric = next((m for m in _CONTROL_METRICS if any(m in row.metrics for row in rows)), None)
    sizes = {row.size_bytes for row in rows if row.control is not None}
    points = [
        ChartPoint(format_size(row.size_bytes), row.series, row.name, row.metrics[metric])
        for row in rows
        if metric is not None and row.size_bytes in sizes and metric in row.metrics
    ]
    if metric is None or not points:
        return None
    title = metric_title(metric)
    return Section(
        "controls",
        "Controls of the same size",
        lead="Other ways to spend the same bytes. Random dimensions retain something too: nested "
        "vectors earn credit only for what they retain beyond the controls of their size.",
        charts=[Chart(f"{title}, by bytes per vector.", chart_by_name(points, title))],
        tables=[_points_table(f"{title} at equal bytes, in numbers", "size", points)],
    )


def _ratio_chart(points: Sequence[ChartPoint], quantity: str) -> dict[str, Any]:
    return chart_by_name(points, quantity, 1.0, _MAX_RATIO)


def _code_label(entry: Mapping[str, Any]) -> str:
    return f"{entry['dims']} dims, {series_label({**entry, 'side': 'both'})}"


def _points_by_group(
    rows: Sequence[VariantRow], example: VariantRow | None, pattern: str
) -> list[ChartPoint]:
    """Make a point of each metric whose name fits; its position is the group of the pattern."""
    fitting_rows = [row for row in rows if any(re.fullmatch(pattern, name) for name in row.metrics)]
    return [
        ChartPoint(match[1], row.name, row.name, estimate)
        for row in _few_rows(fitting_rows, example)
        for name, estimate in row.metrics.items()
        if (match := re.fullmatch(pattern, name))
    ]


def _few_rows(rows: Sequence[VariantRow], example: VariantRow | None) -> list[VariantRow]:
    """Choose the largest variant, the example and the smallest: more lines hide each other."""
    listed = without_controls(rows)
    return [row for row in reversed(listed) if row in (listed[0], example, listed[-1])]


def _flips_table(row: VariantRow) -> Table:
    """Count where the baseline and a variant disagree, with the p-value of McNemar's test."""
    counts = ("both_right", "lost", "won", "both_wrong")
    return Table(
        f"Flips from the baseline to {row.name}",
        ("kind", "right in both", "lost", "won", "wrong in both", "p (McNemar, exact)"),
        [
            (
                Cell(kind),
                *(Cell(f"{entry['flips'][name]:,}") for name in counts),
                Cell(f"{entry['flips']['p']:.2g}"),
            )
            for check in ("hard_negatives", "counterfactual_documents")
            for kind, entry in row.details.get(check, {}).get("kinds", {}).items()
        ],
        folded=True,
    )


def _points_table(caption: str, column: str, points: Sequence[ChartPoint]) -> Table:
    """Tabulate the numbers of a chart: positions in rows, series in columns."""
    series = list(dict.fromkeys(point.series for point in points))
    estimates = {(point.position, point.series): point.estimate for point in points}
    return Table(
        caption,
        (column, *series),
        [
            (
                Cell(position if isinstance(position, str) else f"{position:,}"),
                *(estimate_cell(estimates.get((position, name))) for name in series),
            )
            for position in dict.fromkeys(point.position for point in points)
        ],
        folded=True,
    )
