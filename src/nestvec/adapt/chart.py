"""The picture of a comparison: quality against bytes, one line for each method."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nestvec.adapt.compare import Cell, Comparison
from nestvec.extras import require

# Distinct in grey as well as in colour (Okabe & Ito); markers tell the rest apart.
_COLORS = ("#777777", "#E69F00", "#0072B2", "#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#000000")
_MARKERS = "osD^vP*X"


def draw(comparison: Comparison, path: Path) -> None:
    """Write a PNG with one panel per metric; bars are 95 % intervals of each mean."""
    metrics = list(comparison.cells[0].metrics)
    size = (6.2 * len(metrics), 4.8)
    figure = require("matplotlib.figure", "plot").Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for panel, metric in zip(panels, metrics, strict=True):
        _draw_panel(panel, comparison.cells, metric)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"{comparison.queries:,} queries, {comparison.documents:,} documents")
    figure.savefig(path, dpi=150)


def _draw_panel(panel: Any, cells: Sequence[Cell], metric: str) -> None:
    for place, method in enumerate(dict.fromkeys(cell.method for cell in cells)):
        own = [cell for cell in cells if cell.method == method]
        found = [cell.metrics[metric] for cell in own]
        panel.errorbar(
            [cell.bytes for cell in own],
            [one.value for one in found],
            yerr=[[o.value - o.low for o in found], [o.high - o.value for o in found]],
            label=method, color=_COLORS[place % len(_COLORS)],
            marker=_MARKERS[place % len(_MARKERS)], markersize=5, linewidth=1, capsize=2,
            linestyle="none" if "bits" in method else "-",
        )  # fmt: skip
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.set_xlabel("bytes per vector")
    panel.set_ylabel(metric)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
