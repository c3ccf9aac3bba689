"""Charts of quality against bytes: panels over one axis of bytes, written as a PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestvec.extras import require

_DPI = 150


@dataclass(frozen=True, slots=True)
class Series:
    """One curve, or loose points, with the style that sets them apart from others.

    Markers and shades of grey should differ as well as colours.
    """

    label: str
    size_bytes: Sequence[float | int]
    quality: Sequence[float]
    color: str
    marker: str
    marker_size: float | int
    connected: bool = True
    intervals: Sequence[tuple[float, float]] | None = None
    """The low and the high end of each point's error bar, if there are such bars."""
    marker_edge: str | None = None
    """Colour of a thin line around each marker."""
    point_labels: Sequence[str] | None = None
    """Names beside the points, in the colour of the series."""


@dataclass(frozen=True, slots=True)
class Panel:
    """The series of one metric, which names the vertical axis."""

    metric: str
    series: Sequence[Series]


@dataclass(frozen=True, slots=True)
class ChartLayout:
    """The texts of a chart, and its size in inches."""

    title: str
    bytes_label: str
    size: tuple[float | int, float | int]
    legend_columns: int


def save_chart(path: Path, panels: Sequence[Panel], layout: ChartLayout, extra: str) -> None:
    """Write a PNG with the panels side by side and one legend below them.

    `MissingExtraError`, which names `extra`, without matplotlib.
    """
    # A figure alone, not pyplot's: no window system, and nothing left behind in the process.
    figures = require("matplotlib.figure", extra)
    figure = figures.Figure(figsize=layout.size, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        _draw_panel(axis, panel, layout.bytes_label)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=layout.legend_columns, frameon=False
    )
    figure.suptitle(layout.title)
    figure.savefig(path, dpi=_DPI)


def _draw_panel(axis: Any, panel: Panel, bytes_label: str) -> None:
    for series in panel.series:
        _draw_series(axis, series)
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.set_xlabel(bytes_label)
    axis.set_ylabel(panel.metric)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_series(axis: Any, series: Series) -> None:
    style = {
        "label": series.label,
        "color": series.color,
        "marker": series.marker,
        "markersize": series.marker_size,
        "linewidth": 1,
        "linestyle": "-" if series.connected else "none",
    }
    if series.marker_edge is not None:
        style |= {"markeredgecolor": series.marker_edge, "markeredgewidth": 0.6}
    points = list(zip(series.size_bytes, series.quality, strict=True))
    if series.intervals is None:
        axis.plot(*zip(*points, strict=True), **style)
    else:
        ends = list(zip(series.quality, series.intervals, strict=True))
        below, above = [q - low for q, (low, _) in ends], [high - q for q, (_, high) in ends]
        axis.errorbar(*zip(*points, strict=True), yerr=[below, above], capsize=2, **style)
    for name, point in zip(series.point_labels or (), points, strict=False):
        axis.annotate(
            name, point, xytext=(6, -9), textcoords="offset points", fontsize=8,
            color=series.color,
        )  # fmt: skip
