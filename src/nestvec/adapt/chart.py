"""The chart of a comparison: quality against bytes, one line for each method."""

from pathlib import Path

from nestvec.adapt.compare import Comparison
from nestvec.charts import ChartLayout, Panel, Series, save_chart

# Distinct in grey as well as in colour (Okabe & Ito); markers tell the others apart.
_COLORS = ("#777777", "#E69F00", "#0072B2", "#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#000000")
_MARKERS = "osD^vP*X"
_PANEL_WIDTH, _HEIGHT = 6.2, 4.8


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Write a PNG with one panel per metric; bars are 95 % intervals of each mean."""
    metrics = list(comparison.cells[0].metrics)
    layout = ChartLayout(
        title=f"{comparison.queries:,} queries, {comparison.documents:,} documents",
        bytes_label="bytes per vector",
        size=(_PANEL_WIDTH * len(metrics), _HEIGHT),
        legend_columns=4,
    )
    panels = [Panel(metric, _series(comparison, metric)) for metric in metrics]
    save_chart(path, panels, layout, extra="plot")


def _series(comparison: Comparison, metric: str) -> list[Series]:
    methods = list(dict.fromkeys(cell.method for cell in comparison.cells))
    return [
        _method_series(comparison, metric, method, position)
        for position, method in enumerate(methods)
    ]


def _method_series(comparison: Comparison, metric: str, method: str, position: int) -> Series:
    cells = [cell for cell in comparison.cells if cell.method == method]
    estimates = [cell.metrics[metric] for cell in cells]
    return Series(
        label=method,
        size_bytes=[cell.size_bytes for cell in cells],
        quality=[estimate.value for estimate in estimates],
        color=_COLORS[position % len(_COLORS)],
        marker=_MARKERS[position % len(_MARKERS)],
        marker_size=5,
        connected="bits" not in method,
        intervals=[(estimate.low, estimate.high) for estimate in estimates],
    )
