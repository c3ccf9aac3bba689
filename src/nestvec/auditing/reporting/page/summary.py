"""The first screen: what a reader with half a minute should take away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nestvec.auditing.reporting.page import figures
from nestvec.auditing.reporting.page.metrics import HEADLINES, Metric, in_words
from nestvec.auditing.reporting.page.rows import (
    Row,
    candidates,
    featured,
    full_bytes,
    read_checks,
    smallest_safe,
)
from nestvec.auditing.verdict import FAIL, INSUFFICIENT, PASS, State
from nestvec.statistics import Estimate

KINDS: Mapping[State, str] = {PASS: "pass", FAIL: "fail", INSUFFICIENT: "wait"}
"""The style sheet's name of each verdict."""

_NUMBERS = 3
_LISTED = 3


@dataclass(frozen=True, slots=True)
class Number:
    """One number that matters, and between what it lies."""

    name: str
    value: str
    said: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The verdict in words, what it saves, three numbers, and what could not be told."""

    verdict: State
    headline: str
    sentences: Sequence[str]
    numbers: Sequence[Number]
    lacking: Sequence[str]

    @property
    def kind(self) -> str:
        """The style sheet's name of the verdict."""
        return KINDS[self.verdict]


def summarise(report: Mapping[str, Any], rows: Sequence[Row]) -> Summary:
    """The smallest size that passed and what it saves, or why there is none.

    Where the preflight fails nothing else is claimed: the numbers are of vectors that are not what
    they were taken for.
    """
    checks = read_checks(report.get("preflight", ()))
    broken = [check.said for check in checks if check.status == "fail"]
    if broken:
        headline = "The vectors fail the preflight: mend that first, then run the audit again"
        return Summary(FAIL, headline, broken, (), ())
    safe, shown = smallest_safe(report, rows), featured(report, rows)
    numbers = _numbers(report, shown) if shown else []
    lacking = _lacking(rows)
    if safe:
        headline = f"Smallest safe size: {safe.dims} dimensions, {safe.family}"
        said = (*_savings(report, safe), *_not_asked(rows, safe))
        return Summary(PASS, headline, said, numbers, lacking)
    of = [f"The numbers are of {shown.name}, the largest size below that."] if shown else []
    if lacking:
        headline = "Too little data to call any size below the full vectors safe"
        return Summary(INSUFFICIENT, headline, of, numbers, lacking)
    headline = "No tested size below the full vectors is safe"
    return Summary(FAIL, headline, of, numbers, ())


def _savings(report: Mapping[str, Any], safe: Row) -> list[str]:
    n, full = report["inputs"]["documents"]["n"], full_bytes(report)
    said = [
        f"A vector takes {figures.size(safe.size_bytes)} instead of {figures.size(full)}, "
        f"{figures.times(full / safe.size_bytes)} times less. The {n:,} documents take "
        f"{figures.size(n * safe.size_bytes)} instead of {figures.size(n * full)}."
    ]
    if safe.rescore:
        said.append(
            f"The best {safe.rescore} answers are ranked anew by full vectors, which may lie on "
            "disk and are not counted."
        )
    return said


def _not_asked(rows: Sequence[Row], safe: Row) -> list[str]:
    """What a PASS does not cover, though other sizes were asked for it."""
    if "net_flips" in safe.metrics or not any("net_flips" in row.metrics for row in rows):
        return []
    return ["Hard negatives were not measured at this size, only at those without rescoring."]


def _numbers(report: Mapping[str, Any], row: Row) -> list[Number]:
    measured = [metric for metric in HEADLINES if metric.name in row.metrics]
    # Of queries that come in groups, some metrics count the groups.
    units = "queries or groups of them" if report["inputs"].get("groups") else "queries"
    return [_number(metric, row.metrics[metric.name], units) for metric in measured[:_NUMBERS]]


def _number(metric: Metric, estimate: Estimate, units: str) -> Number:
    low, high = metric.write(estimate.low), metric.write(estimate.high)
    said = f"{low} to {high}, from {estimate.n:,} {units}. {metric.meaning}"
    return Number(metric.title, metric.write(estimate.value), said)


def _lacking(rows: Sequence[Row]) -> list[str]:
    lacking = [row for row in candidates(rows) if row.verdict == INSUFFICIENT]
    said = [
        f"{row.name}: {'; '.join(map(in_words, row.reasons))}{_needed(row)}"
        for row in lacking[:_LISTED]
    ]
    more = len(lacking) - len(said)
    return [*said, f"and {more} more: see the table of every variant"] if more > 0 else said


def _needed(row: Row) -> str:
    return f" (about {row.queries_needed:,} queries would decide it)" if row.queries_needed else ""
