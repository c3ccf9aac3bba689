"""Charts of the page: Vega-Lite specifications, as data.

Colours are CSS variables, which an SVG takes as any other colour: the style sheet alone decides on
light, dark and print, and a change of theme redraws nothing. Series differ in shape as well as in
colour.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nestvec.auditing.reporting.formatting import format_estimate
from nestvec.statistics import Estimate

Spec = dict[str, Any]

SERIES_COLORS = 6
"""Colours for series in the style sheet; further series repeat them."""
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
class ChartPoint:
    """An estimate, its position on the other axis, its series, and its name in the tooltip."""

    position: int | str
    series: str
    name: str
    estimate: Estimate
    extrapolated: bool = False
    """Computed by a model beyond the data, and drawn dashed."""


def chart_by_dims(points: Sequence[ChartPoint], quantity: str, limit: float | None = None) -> Spec:
    """Draw a line with its band per series over the dimensions, and a dotted line at `limit`."""
    dims = sorted({point.position for point in points}, key=float)
    x = {
        "field": "position",
        "type": "quantitative",
        "title": "dimensions",
        "scale": {"type": "log", "base": 2, "nice": False, "padding": 12},
        "axis": {"values": dims, "format": "d", "grid": False, "labelOverlap": "greedy"},
    }
    y = _value_axis(quantity)
    return _chart(points, [*_limit_layer("y", y, limit), *_line_layers(y, _encoding(points, x=x))])


def chart_by_corpus_size(points: Sequence[ChartPoint], quantity: str) -> Spec:
    """Draw a line with its band per series over the distractors; extrapolated parts are dashed."""
    x = {
        "field": "position",
        "type": "quantitative",
        "title": "distractors",
        "scale": {"type": "log", "nice": False, "padding": 12},
        "axis": {"format": "~s", "grid": False, "labelOverlap": "greedy", "tickCount": 6},
    }
    return _chart(points, _line_layers(_value_axis(quantity), _encoding(points, x=x)))


def chart_by_name(
    points: Sequence[ChartPoint],
    quantity: str,
    limit: float | None = None,
    max_value: float = math.inf,
) -> Spec:
    """Draw a dot with its interval per name and series, and a dotted line at `limit`.

    Values above `max_value` are drawn at it, so that one far outlier does not flatten the others.
    """
    y = {
        "field": "position",
        "type": "nominal",
        "title": None,
        "sort": None,
        "scale": {"paddingInner": 0.4, "paddingOuter": 0.2},
        "axis": {"labelLimit": 150, "grid": True, "ticks": False},
    }
    x = _value_axis(quantity)
    encoding = _encoding(points, y=y)
    height: Spec = {"step": 26}
    if len(_series_names(points)) > 1:
        encoding |= {"yOffset": {"field": "series", "type": "nominal", "sort": None}}
        height = {"step": 14, "for": "offset"}
    layers = [*_limit_layer("x", x, limit), *_dot_layers("x", x, encoding)]
    return {**_chart(points, layers, max_value), "height": height}


def _chart(
    points: Sequence[ChartPoint], layers: Sequence[Spec], max_value: float = math.inf
) -> Spec:
    values = [_datum(p, max_value) for p in points if math.isfinite(p.estimate.value)]
    return {
        "width": "container",
        "height": 280,
        "data": {"values": values},
        "layer": list(layers),
        "config": _CONFIG,
    }


def _datum(point: ChartPoint, max_value: float) -> Mapping[str, Any]:
    value, low, high, _ = (
        min(number, max_value) if math.isfinite(number) else None for number in point.estimate
    )
    return {
        "position": point.position,
        "series": point.series,
        "name": point.name,
        "value": value,
        "low": value if low is None else low,
        "high": value if high is None else high,
        "text": format_estimate(point.estimate),
        "extrapolated": point.extrapolated,
    }


def _series_names(points: Sequence[ChartPoint]) -> list[str]:
    """List each series once, in the order of the points."""
    return list(dict.fromkeys(point.series for point in points))


def _encoding(points: Sequence[ChartPoint], **position: Spec) -> Spec:
    """Make the part that all layers encode: the position on the other axis, and the series."""
    names = _series_names(points)
    colors = [f"var(--series-{i % SERIES_COLORS + 1})" for i in range(len(names))]
    color: Spec = {
        "field": "series",
        "type": "nominal",
        "title": None,
        "scale": {"domain": names, "range": colors},
    }
    if len(names) < 2:
        color["legend"] = None
    return {**position, "color": color}


def _value_axis(quantity: str) -> Spec:
    return {
        "type": "quantitative",
        "title": quantity,
        "scale": {"zero": False, "nice": True},
        "axis": {"grid": True, "tickCount": 5, "labelOverlap": "greedy", "labelSeparation": 6},
    }


def _line_layers(y: Spec, encoding: Spec) -> list[Spec]:
    dash = {
        "field": "extrapolated",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": [False, True], "range": [[1, 0], [5, 4]]},
    }
    line = {**encoding, "y": {**y, "field": "value"}, "strokeDash": dash}
    return [
        {"mark": {"type": "area", "opacity": 0.14}, "encoding": {**encoding, **_interval("y", y)}},
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": line},
        *_dot_layers("y", y, encoding),
    ]


def _dot_layers(axis: str, value_axis: Spec, encoding: Spec) -> list[Spec]:
    tooltip = [
        {"field": "name", "type": "nominal", "title": "variant"},
        {"field": "text", "type": "nominal", "title": value_axis["title"]},
    ]
    dot = {
        **encoding,
        axis: {**value_axis, "field": "value"},
        "shape": {**encoding["color"], "scale": {"domain": encoding["color"]["scale"]["domain"]}},
        "tooltip": tooltip,
    }
    interval = {**encoding, **_interval(axis, value_axis)}
    return [
        {"mark": {"type": "rule", "strokeWidth": 1.5}, "encoding": interval},
        {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1}, "encoding": dot},
    ]


def _interval(axis: str, value_axis: Spec) -> Spec:
    return {axis: {**value_axis, "field": "low"}, f"{axis}2": {"field": "high"}}


def _limit_layer(axis: str, value_axis: Spec, limit: float | None) -> list[Spec]:
    if limit is None:
        return []
    # A data set of one row: over the chart's own data, a rule would be drawn for every point.
    return [
        {
            "data": {"values": [{}]},
            "mark": {"type": "rule", "color": "var(--ink)", "strokeDash": [3, 3]},
            "encoding": {axis: {**value_axis, "datum": limit}},
        }
    ]
