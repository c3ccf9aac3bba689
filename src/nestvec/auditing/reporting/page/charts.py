"""The page's charts: Vega-Lite specifications, as data.

Colours are CSS variables, which an SVG takes as any other colour: light, dark and print are the
style sheet's matter, and a change of theme redraws nothing. Series differ in shape as well as in
colour.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nestvec.auditing.reporting.page import figures
from nestvec.statistics import Estimate

Spec = dict[str, Any]

SERIES = 6
"""The style sheet has so many colours for series."""
_CONFIG: Spec = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--ink)",
        "titleColor": "var(--ink)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
    },
    "legend": {
        "orient": "bottom",
        "columns": 3,
        "title": None,
        "labelColor": "var(--ink)",
        "labelFontSize": 12,
        "symbolSize": 90,
        "symbolOpacity": 1,
        "labelLimit": 280,
    },
}


@dataclass(frozen=True, slots=True)
class Point:
    """An estimate, its place on the other axis, its series, and its name where it is pointed at."""

    at: int | str
    series: str
    name: str
    estimate: Estimate
    forecast: bool = False
    """Extrapolated by a model, not measured."""


def by_dims(points: Sequence[Point], quantity: str, limit: float | None = None) -> Spec:
    """A line with its band per series over the dimensions; `limit` is the threshold, if any."""
    dims = sorted({point.at for point in points}, key=float)
    x = {
        "field": "at",
        "type": "quantitative",
        "title": "dimensions",
        "scale": {"type": "log", "base": 2, "nice": False, "padding": 12},
        "axis": {"values": dims, "format": "d", "grid": False, "labelOverlap": "greedy"},
    }
    y = _measure(quantity)
    return _chart(points, [*_limit("y", y, limit), *_lines(y, _shared(points, x=x))])


def by_documents(points: Sequence[Point], quantity: str) -> Spec:
    """A line with its band per series over the size of the corpus; forecasts are dashed."""
    x = {
        "field": "at",
        "type": "quantitative",
        "title": "other documents",
        "scale": {"type": "log", "nice": False, "padding": 12},
        "axis": {"format": "~s", "grid": False, "labelOverlap": "greedy", "tickCount": 6},
    }
    return _chart(points, _lines(_measure(quantity), _shared(points, x=x)))


def by_name(
    points: Sequence[Point], quantity: str, limit: float | None = None, most: float = math.inf
) -> Spec:
    """A dot with its interval per name, series below each other; `limit` is where harm begins.

    What lies above `most` is drawn at it: one number that is beside the point hides the others.
    """
    y = {
        "field": "at",
        "type": "nominal",
        "title": None,
        "sort": None,
        "scale": {"paddingInner": 0.4, "paddingOuter": 0.2},
        "axis": {"labelLimit": 150, "grid": True, "ticks": False},
    }
    x = _measure(quantity)
    shared = _shared(points, y=y)
    height: Spec = {"step": 26}
    if len(_names(points)) > 1:
        shared |= {"yOffset": {"field": "series", "type": "nominal", "sort": None}}
        height = {"step": 14, "for": "offset"}
    layers = [*_limit("x", x, limit), *_dots("x", x, shared)]
    return {**_chart(points, layers, most), "height": height}


def _chart(points: Sequence[Point], layers: Sequence[Spec], most: float = math.inf) -> Spec:
    drawn = [_datum(p, most) for p in points if math.isfinite(p.estimate.value)]
    return {
        "width": "container",
        "height": 280,
        "data": {"values": drawn},
        "layer": list(layers),
        "config": _CONFIG,
    }


def _datum(point: Point, most: float) -> Mapping[str, Any]:
    value, low, high, _ = (min(x, most) if math.isfinite(x) else None for x in point.estimate)
    return {
        "at": point.at,
        "series": point.series,
        "name": point.name,
        "value": value,
        "low": value if low is None else low,
        "high": value if high is None else high,
        "said": figures.sentence(point.estimate),
        "forecast": point.forecast,
    }


def _names(points: Sequence[Point]) -> list[str]:
    """Each series once, in the order of the points."""
    return list(dict.fromkeys(point.series for point in points))


def _shared(points: Sequence[Point], **place: Spec) -> Spec:
    """What every layer of a chart encodes: the place on the other axis, and the series."""
    names = _names(points)
    colours = [f"var(--series-{i % SERIES + 1})" for i in range(len(names))]
    colour: Spec = {
        "field": "series",
        "type": "nominal",
        "title": None,
        "scale": {"domain": names, "range": colours},
    }
    if len(names) < 2:
        colour["legend"] = None
    return {**place, "color": colour}


def _measure(quantity: str) -> Spec:
    return {
        "type": "quantitative",
        "title": quantity,
        "scale": {"zero": False, "nice": True},
        "axis": {"grid": True, "tickCount": 5, "labelOverlap": "greedy", "labelSeparation": 6},
    }


def _lines(y: Spec, shared: Spec) -> list[Spec]:
    dash = {
        "field": "forecast",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": [False, True], "range": [[1, 0], [5, 4]]},
    }
    line = {**shared, "y": {**y, "field": "value"}, "strokeDash": dash}
    return [
        {"mark": {"type": "area", "opacity": 0.14}, "encoding": {**shared, **_ends("y", y)}},
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": line},
        *_dots("y", y, shared),
    ]


def _dots(axis: str, measure: Spec, shared: Spec) -> list[Spec]:
    tooltip = [
        {"field": "name", "type": "nominal", "title": "variant"},
        {"field": "said", "type": "nominal", "title": measure["title"]},
    ]
    dot = {
        **shared,
        axis: {**measure, "field": "value"},
        "shape": {**shared["color"], "scale": {"domain": shared["color"]["scale"]["domain"]}},
        "tooltip": tooltip,
    }
    interval = {**shared, **_ends(axis, measure)}
    return [
        {"mark": {"type": "rule", "strokeWidth": 1.5}, "encoding": interval},
        {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1}, "encoding": dot},
    ]


def _ends(axis: str, measure: Spec) -> Spec:
    return {axis: {**measure, "field": "low"}, f"{axis}2": {"field": "high"}}


def _limit(axis: str, measure: Spec, limit: float | None) -> list[Spec]:
    if limit is None:
        return []
    mark = {"type": "rule", "color": "var(--ink)", "strokeDash": [3, 3]}
    # Data of its own, one row: a rule per point would be drawn otherwise.
    return [
        {"data": {"values": [{}]}, "mark": mark, "encoding": {axis: {**measure, "datum": limit}}}
    ]
