"""The picture of a data set: recall against queries per second, one line per engine."""

import math
from pathlib import Path
from typing import Any

from benchmarks.search.curve import front, points

_TICKS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
_STYLES = {"nestvec": "-", "graph": "--", "cells": ":", "flat": "-."}


def draw(result: dict[str, Any], k: int, path: Path) -> None:
    """Queries/s on a log axis over recall on a logit axis: equal steps are equal factors of misses.

    Solid is nestvec, with a star at its default plan; graphs are dashed, cells dotted.
    """
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["tab20"].colors
    for number, (name, record) in enumerate(result["engines"].items()):
        own = [
            point._replace(recall=min(point.recall, 1 - 0.5 / k / result["data"]["queries"]))
            for point in front(points(result, k, name))
        ]
        if own:
            ours = name == "nestvec"
            axes.plot(
                [logit(p.recall) for p in own], [p.queries_per_s for p in own],
                _STYLES[record["kind"]], marker="o" if ours else ".", label=record["title"],
                color="black" if ours else colours[number % len(colours)],
                linewidth=2.2 if ours else 1.2, zorder=3 if ours else 2,
            )  # fmt: skip
    for row in result["searches"][str(k)]:
        if row["is_default"]:
            x = logit(min(row["recall"], 1 - 0.5 / k / result["data"]["queries"]))
            axes.plot([x], [row["queries_per_s"]], "*", color="black", markersize=16, zorder=4)
    axes.set_yscale("log")
    axes.set_xticks([logit(tick) for tick in _TICKS], [str(tick) for tick in _TICKS])
    axes.set_xlim(logit(0.75), logit(0.9995))
    axes.set_xlabel(f"recall@{k} by id")
    axes.set_ylabel("queries/s, one by one, 1 thread")
    data = result["data"]
    axes.set_title(f"{data['name']}: {data['rows']:,} × {data['dim']}, {data['metric']}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def logit(recall: float) -> float:
    return math.log(recall / (1 - recall))
