"""The chart of the demo: quality against the bytes that a query reads per vector."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nestvec.charts import ChartLayout, Panel, Series, save_chart
from nestvec.demo.measure import Kind
from nestvec.demo.report import Result


class _Style(NamedTuple):
    marker: str
    color: str
    size: float


# Distinct in shape and in grey as well as in colour (Okabe & Ito).
_STYLES: dict[Kind, _Style] = {
    "float scan": _Style("o", "#000000", 9),
    "float prefix": _Style("s", "#777777", 6),
    "codes": _Style("^", "#D55E00", 7),
    "codes, then full": _Style("D", "#0072B2", 6),
    "default plan": _Style("*", "#009E73", 15),
}
_CURVES: tuple[Kind, ...] = ("codes", "float prefix")
"""Drawn with lines and names; the points of other kinds lie too close for names."""


def draw(results: Sequence[Result], rows: int, path: Path) -> None:
    """Write a PNG with two panels over the same bytes: nDCG@10 and recall of exact search."""
    panels = [
        Panel("nDCG@10", _series(results, rows, [r.ndcg for r in results])),
        Panel("recall@10 of exact search", _series(results, rows, [r.recall for r in results])),
    ]
    layout = ChartLayout(
        title=f"What reading less of each vector costs ({rows:,} arXiv abstracts)",
        bytes_label="bytes read per query and vector: cells, codes and full vectors",
        size=(11, 5.2),
        legend_columns=len(_STYLES),
    )
    save_chart(path, panels, layout, extra="demo")


def _series(results: Sequence[Result], rows: int, quality: Sequence[float]) -> list[Series]:
    return [_kind_series(results, rows, quality, kind) for kind in _STYLES]


def _kind_series(
    results: Sequence[Result], rows: int, quality: Sequence[float], kind: Kind
) -> Series:
    points = sorted(
        (result.read_bytes / rows, value, result.name.removeprefix("float32, "))
        for result, value in zip(results, quality, strict=True)
        if result.kind == kind
    )
    style, is_curve = _STYLES[kind], kind in _CURVES
    return Series(
        label="codes (dims x bits)" if kind == "codes" else kind,
        size_bytes=[point[0] for point in points],
        quality=[point[1] for point in points],
        color=style.color,
        marker=style.marker,
        marker_size=style.size,
        connected=is_curve,
        marker_edge="white",
        point_labels=[point[2] for point in points] if is_curve else None,
    )
