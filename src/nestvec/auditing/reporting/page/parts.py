"""What a section of the page is made of; the template makes HTML of it, and escapes all texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nestvec.auditing.reporting.page import figures
from nestvec.auditing.reporting.page.charts import Spec
from nestvec.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: a text, its class in the style sheet, and a note in small print."""

    text: str
    kind: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, the first of which is the row's heading."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    """A table without any is not shown."""
    folded: bool = False
    """Shown when asked for: a chart says the same."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, and what it shows in words: its caption, and what a screen reader says of it."""

    caption: str
    spec: Spec

    def described(self) -> dict[str, Any]:
        """The specification with its description."""
        return {**self.spec, "description": self.caption}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what is under it."""

    id: str
    title: str
    lead: str = ""
    code: str = ""
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()


def estimate_cell(estimate: Estimate | None) -> Cell:
    """Value, interval and sample; a dash where it was not measured."""
    if estimate is None:
        return Cell(figures.NOTHING)
    return Cell(
        figures.number(estimate.value), note=f"{figures.span(estimate)}, n = {estimate.n:,}"
    )
