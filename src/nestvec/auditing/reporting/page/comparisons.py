"""Sections that hold sizes against something: kinds, corpora, stress, other uses of bytes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from nestvec.auditing.reporting.page import figures
from nestvec.auditing.reporting.page.charts import Point, by_documents, by_name
from nestvec.auditing.reporting.page.metrics import title_of
from nestvec.auditing.reporting.page.parts import Cell, Chart, Section, Table, estimate_cell
from nestvec.auditing.reporting.page.rows import Row, candidates, family_of, read_estimate
from nestvec.auditing.types import EDITED, Side

_MOST = 1.5
"""Ratios are drawn up to here: far above 1 nothing is wrong."""
_LINE = f"the dotted line is 1, and what is above {_MOST} is drawn there."
_SIDES: tuple[str, ...] = get_args(Side)
_COMPARED = ("ndcg@10_retention", "overlap_with_ties@10")
"""What controls are compared by: the first of these that was measured."""


def kinds(rows: Sequence[Row], shown: Row | None) -> Section | None:
    """Near misses by what is wrong with them, and which of them flipped."""
    points = _points_of(rows, shown, f"triplet_accuracy:(?!{EDITED}$)(.+)")
    if len({point.at for point in points}) < 2:
        return None
    title = title_of("triplet_accuracy")
    return Section(
        "kinds",
        "Hard negatives by kind",
        lead="Where near misses of one kind break before the others, test that kind more.",
        charts=[
            Chart(f"{title}, by kind; the dotted line is chance.", by_name(points, title, 0.5))
        ],
        tables=[
            _points_table(f"{title} by kind, in numbers", "kind", points),
            *([_flips(shown)] if shown else []),
        ],
    )


def growth(rows: Sequence[Row], shown: Row | None) -> Section | None:
    """Recall in smaller corpora, counted, and in larger ones, modelled."""
    measured = [row for row in rows if "corpus_growth" in row.details]
    points = [
        Point(
            point["distractors"], row.name, row.name,
            read_estimate(point["recall"]), forecast=point["basis"] == "modelled",
        )
        for row in _told_apart(measured, shown)
        for point in row.details["corpus_growth"]["curve"]
    ]  # fmt: skip
    if not points:
        return None
    what = "Recall of judged documents by the number of others"
    return Section(
        "growth",
        "As the corpus grows",
        lead="How many of the judged documents are still among the first ten when there are more "
        "others. Lines are counted, without drawing; dashes are a model's, and worth no more than "
        "ten times the corpus.",
        charts=[Chart(f"{what}.", by_documents(points, "recall@10"))],
        tables=[_points_table(f"{what}, in numbers", "others", points)],
    )


def stress(rows: Sequence[Row], shown: Row | None) -> Section | None:
    """Whether hardship hurts the smaller vectors more than the full ones."""
    points = _points_of(rows, shown, "(?!few_shot)(.+)_interaction")
    if not points:
        return None
    quantity = "Kept under stress / kept otherwise"
    return Section(
        "stress",
        "Under stress",
        lead="1 means that the stress costs the smaller vectors the share that it costs the full "
        "ones; below 1 they suffer more.",
        charts=[Chart(f"{quantity}; {_LINE}", by_name(points, quantity, 1.0, _MOST))],
        tables=[_points_table(f"{quantity}, in numbers", "stress", points)],
    )


def slices(rows: Sequence[Row], shown: Row | None) -> Section | None:
    """Parts of the queries beside the rest."""
    points = _points_of(rows, shown, "slice_interaction:(.+)")
    if not points:
        return None
    quantity = "Kept in the slice / kept in the rest"
    kept = _points_of(rows, shown, "slice_retention:(.+)")
    return Section(
        "slices",
        "Slices of the queries",
        lead="Below 1 a slice loses more than the other queries do: a mean over all hides it. Of "
        "many slices some lie below 1 by chance; trust those whose interval does.",
        charts=[Chart(f"{quantity}; {_LINE}", by_name(points, quantity, 1.0, _MOST))],
        tables=[
            _points_table(f"{quantity}, in numbers", "slice", points),
            _points_table("Kept in each slice, in numbers", "slice", kept),
        ],
    )


def asymmetry(report: Mapping[str, Any]) -> Section | None:
    """One side coded beside both."""
    entries: Sequence[Mapping[str, Any]] = report.get("asymmetry") or []
    points = [
        Point(_code(entry), f"{side} coded", _code(entry), read_estimate(entry[side]))
        for entry in entries
        for side in _SIDES
        if entry[side] is not None
    ]
    if not points:
        return None
    title = title_of(entries[0]["measure"])
    return Section(
        "asymmetry",
        "One side coded, or both",
        lead="Documents take the space; queries are few, and may stay at full precision. Both "
        "sides have equally many dimensions.",
        charts=[Chart(f"{title}, by the side that is coded.", by_name(points, title))],
        tables=[_points_table(f"{title} by side, in numbers", "code", points)],
    )


def _code(entry: Mapping[str, Any]) -> str:
    return f"{entry['dims']} dims, {family_of({**entry, 'side': 'both'})}"


def controls(rows: Sequence[Row]) -> Section | None:
    """Every variant that takes as many bytes as a control does."""
    metric = next((m for m in _COMPARED if any(m in row.metrics for row in rows)), None)
    sizes = {row.size_bytes for row in rows if row.control is not None}
    points = [
        Point(figures.size(row.size_bytes), row.family, row.name, row.metrics[metric])
        for row in rows
        if metric is not None and row.size_bytes in sizes and metric in row.metrics
    ]
    if metric is None or not points:
        return None
    title = title_of(metric)
    return Section(
        "controls",
        "The same bytes, spent otherwise",
        lead="Random dimensions keep something too. Nested vectors earn credit only for what they "
        "keep beyond the controls of their size.",
        charts=[Chart(f"{title}, by bytes per vector.", by_name(points, title))],
        tables=[_points_table(f"{title} at equal bytes, in numbers", "bytes", points)],
    )


def _points_of(rows: Sequence[Row], shown: Row | None, metric: str) -> list[Point]:
    """A point for each metric that the pattern `metric` fits, placed by what its group holds."""
    measured = [row for row in rows if any(re.fullmatch(metric, name) for name in row.metrics)]
    return [
        Point(place[1].replace("_", " "), row.name, row.name, estimate)
        for row in _told_apart(measured, shown)
        for name, estimate in row.metrics.items()
        if (place := re.fullmatch(metric, name))
    ]


def _told_apart(rows: Sequence[Row], shown: Row | None) -> list[Row]:
    """The largest candidate, the one shown, and the smallest: more lines tell less."""
    listed = candidates(rows)
    return [row for row in reversed(listed) if row in (listed[0], shown, listed[-1])]


def _flips(row: Row) -> Table:
    """What the full vectors and a variant disagree on, and how likely chance alone does so."""
    counted = ("both_right", "lost", "won", "both_wrong")
    return Table(
        f"Flips from the full vectors to {row.name}",
        ("kind", "right before and after", "lost", "won", "wrong before and after", "exact p"),
        [
            (
                Cell(kind),
                *(Cell(f"{found['flips'][name]:,}") for name in counted),
                Cell(f"{found['flips']['p']:.2g}"),
            )
            for check in ("hard_negatives", "edited_documents")
            for kind, found in row.details.get(check, {}).get("kinds", {}).items()
        ],
        folded=True,
    )


def _points_table(caption: str, column: str, points: Sequence[Point]) -> Table:
    """What a chart shows: places down, series across."""
    series = list(dict.fromkeys(point.series for point in points))
    found = {(point.at, point.series): point.estimate for point in points}
    return Table(
        caption,
        (column, *series),
        [
            (
                Cell(at if isinstance(at, str) else f"{at:,}"),
                *(estimate_cell(found.get((at, name))) for name in series),
            )
            for at in dict.fromkeys(point.at for point in points)
        ],
        folded=True,
    )
