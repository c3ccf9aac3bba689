"""The demo's picture: quality against the bytes that a query reads per vector."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nestvec.demo.measure import Kind
from nestvec.demo.report import Result
from nestvec.extras import require


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


def draw(results: Sequence[Result], rows: int, path: Path) -> None:
    """Write a PNG with two panels over the same bytes: nDCG@10 and recall against exact search."""
    # A figure of its own, not pyplot's: no window system, and nothing left behind in the process.
    figure = require("matplotlib.figure", "demo").Figure(figsize=(11, 5.2), layout="constrained")
    panels = figure.subplots(1, 2)
    _draw_panel(panels[0], results, rows, [r.ndcg for r in results], "nDCG@10")
    _draw_panel(panels[1], results, rows, [r.recall for r in results], "recall@10 of exact search")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    figure.suptitle(f"What reading less of each vector costs ({rows:,} arXiv abstracts)")
    figure.savefig(path, dpi=150)


def _draw_panel(
    panel: Any, results: Sequence[Result], rows: int, quality: Sequence[float], name: str
) -> None:
    for kind, style in _STYLES.items():
        points = [
            (result.read_bytes / rows, value, result.name)
            for result, value in zip(results, quality, strict=True)
            if result.kind == kind
        ]
        x, y, labels = zip(*sorted(points), strict=True)
        panel.plot(
            x, y, marker=style.marker, color=style.color, markersize=style.size,
            label="codes (dims x bits)" if kind == "codes" else kind,
            linestyle="-" if kind in ("codes", "float prefix") else "none",
            linewidth=1, markeredgecolor="white", markeredgewidth=0.6,
        )  # fmt: skip
        _label(panel, kind, zip(x, y, labels, strict=True))
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.set_xlabel("bytes read per query and vector: cells, codes and full vectors")
    panel.set_ylabel(name)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


def _label(panel: Any, kind: Kind, points: Any) -> None:
    """Names beside the points of the two curves; the others lie too close to be told apart."""
    if kind not in ("codes", "float prefix"):
        return
    for x, y, text in points:
        short = text.removeprefix("float32, ")
        panel.annotate(
            short, (x, y), xytext=(6, -9), textcoords="offset points",
            fontsize=8, color=_STYLES[kind].color,
        )  # fmt: skip
