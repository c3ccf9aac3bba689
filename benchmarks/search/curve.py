"""From measured settings to a curve: what is the speed at a given recall?"""

import math
from typing import Any, NamedTuple


class Point(NamedTuple):
    """One setting of one engine."""

    recall: float
    queries_per_s: float
    label: str = ""


def points(result: dict[str, Any], k: int, name: str, per: str = "queries_per_s") -> list[Point]:
    """The settings of one engine in a result file."""
    return [
        Point(row["recall"], row[per], row["setting"])
        for row in result["searches"][str(k)]
        if row["engine"] == name
    ]


def front(points: list[Point]) -> list[Point]:
    """The settings that no other beats in both recall and speed, by rising recall."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (-p.recall, -p.queries_per_s)):
        if not kept or point.queries_per_s > kept[-1].queries_per_s:
            kept.append(point)
    return kept[::-1]


def speed_at(points: list[Point], recall: float, answers: int) -> float | None:
    """Queries/s at `recall`, between the two settings of the front next to it; None: never reached.

    log(queries/s) is interpolated linearly over log(1 − recall), the same for every engine: on
    these axes measured curves are nearly straight. Where all settings are better than `recall` the
    fastest counts, without extrapolation. `answers` is how many answers the recall was counted
    over: half of one wrong stands for none, so that a recall of 1 has a place on the axis.
    """
    curve = front(points)
    above = [p for p in curve if p.recall >= recall]
    below = [p for p in curve if p.recall < recall]
    if not above:
        return None
    if not below:
        return above[0].queries_per_s
    low, high = below[-1], above[0]
    x, x0, x1 = (miss(r, answers) for r in (recall, low.recall, high.recall))
    share = (x - x0) / (x1 - x0)
    y0, y1 = math.log(low.queries_per_s), math.log(high.queries_per_s)
    return math.exp(y0 + share * (y1 - y0))


def miss(recall: float, answers: int) -> float:
    """log(1 − recall), with half a wrong answer where there is none."""
    return math.log(max(1 - recall, 0.5 / answers))


def exponent(rows: list[int], queries_per_s: list[float]) -> float:
    """How the time of a query grows with the rows: the slope of log time over log rows."""
    x = [math.log(count) for count in rows]
    y = [-math.log(speed) for speed in queries_per_s]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    top = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return top / sum((a - mean_x) ** 2 for a in x)
