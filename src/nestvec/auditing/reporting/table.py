"""Tables of a report: plain text for a terminal, HTML for a notebook."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import nan
from typing import Any, Literal

from nestvec.auditing.reporting.formatting import format_number, series_label

COLUMNS: Mapping[str, Literal["left", "right"]] = {
    "variant": "left", "B/vector": "right", "verdict": "left", "metric": "left", "value": "right",
    "95% interval": "right", "queries needed": "right",
}  # fmt: skip
"""Columns of the table of variants, with the alignment of their cells."""
_VERDICT_METRICS = ("ndcg@10_retention", "overlap_with_ties@10")
"""Metrics that verdicts are about; a variant shows the first of these that it has."""


def variant_cells(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Make the rows of the table of variants, with a cell for each of `COLUMNS`."""
    return [_cells(variant) for variant in report["variants"]]


def conclusions(report: Mapping[str, Any]) -> Iterator[str]:
    """Write the lines below the table: the safe dims of each series, and the knee."""
    for series in report["safe_dims"]:
        dims = "no size" if series["dims"] is None else f"{series['dims']} dims"
        yield f"safe at {series_label(series)}: {dims}"
    if report["knee"] is not None:
        yield report["knee"]["message"]


def notable_checks(report: Mapping[str, Any]) -> Iterator[str]:
    """Write a line for each check of the preflight that warns or fails."""
    for check in report["preflight"]:
        if check["status"] in ("warning", "fail"):
            yield f"{check['status']}: {check['message']}"


def report_text(report: Mapping[str, Any]) -> str:
    """Write a report as plain text: its size, notable checks, the variants and conclusions."""
    blocks = [
        [_size_line(report), *notable_checks(report)],
        _aligned(list(COLUMNS), variant_cells(report)),
        list(conclusions(report)),
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines)


def report_html(report: Mapping[str, Any]) -> str:
    """Write a report as HTML for a notebook, with every text escaped."""
    lines = [_size_line(report), *notable_checks(report)]
    head = "".join(f"<th>{escape(column)}</th>" for column in COLUMNS)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for cells in variant_cells(report)
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"{_paragraph(lines)}{table}{_paragraph(list(conclusions(report)))}"


def _cells(variant: Mapping[str, Any]) -> tuple[str, ...]:
    metrics, n_queries = variant["metrics"], variant["queries_needed"]
    name = next((name for name in _VERDICT_METRICS if name in metrics), "")
    value, low, high = (_number(metrics, name, part) for part in ("value", "low", "high"))
    return (
        variant["name"] + (" (control)" if variant["control"] else ""),
        f"{variant['size_bytes']:,g}",
        variant["verdict"],
        name,
        value,
        f"{low} to {high}" if name else "",
        "" if n_queries is None else f"{n_queries:,}",
    )


def _number(metrics: Mapping[str, Any], name: str, part: str) -> str:
    number = metrics[name][part] if name else None
    return format_number(nan if number is None else number)


def _size_line(report: Mapping[str, Any]) -> str:
    documents, queries = report["inputs"]["documents"], report["inputs"]["queries"]
    return (
        f"nestvec audit of {documents['n']:,} documents and {queries['n']:,} queries, "
        f"{documents['dim']:,} dims"
    )


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = []
    for line in lines:
        cells = (
            cell.rjust(width) if side == "right" else cell.ljust(width)
            for cell, width, side in zip(line, widths, COLUMNS.values(), strict=True)
        )
        aligned.append("  ".join(cells).rstrip())
    return aligned


def _paragraph(lines: Sequence[str]) -> str:
    return f"<p>{'<br>'.join(map(escape, lines))}</p>" if lines else ""
