"""Sections, tables and charts of the page as data; the template turns them into escaped HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nestvec.auditing.reporting.formatting import MISSING, format_interval, format_number
from nestvec.auditing.reporting.page.charts import Spec
from nestvec.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell: a text, its class in the style sheet, and a note in small print."""

    text: str
    kind: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a caption; the first cell of each row is the heading of the row."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    """The page leaves out a table without rows."""
    folded: bool = False
    """Folded away until the reader opens it, because a chart shows the same numbers."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A Vega-Lite chart with a caption, which screen readers read out."""

    caption: str
    spec: Spec

    def with_description(self) -> dict[str, Any]:
        """Return the specification with the caption as its description."""
        return {**self.spec, "description": self.caption}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with its introduction, code, charts and tables."""

    id: str
    title: str
    lead: str = ""
    code: str = ""
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()


def estimate_cell(estimate: Estimate | None) -> Cell:
    """Make a cell of value, interval and sample size, or of a dash for None."""
    if estimate is None:
        return Cell(MISSING)
    note = f"{format_interval(estimate)}, n = {estimate.n:,}"
    return Cell(format_number(estimate.value), note=note)
