"""Variants, estimates and preflight checks of a report, read for the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

from nestvec.auditing.reporting.formatting import series_label
from nestvec.auditing.types import FULL_BITS, PreflightCheck
from nestvec.auditing.verdict import PASS, State
from nestvec.statistics import Estimate


@dataclass(frozen=True, slots=True)
class VariantRow:
    """A variant of a report: its size, its verdict and its metrics."""

    name: str
    dims: int
    series: str
    """Label that it shares with the variants that differ in `dims` alone: "1 bit, PCA rotation"."""
    size_bytes: float
    rerank: int
    plan: str | None
    control: str | None
    verdict: State
    reasons: Sequence[str]
    queries_needed: int | None
    metrics: Mapping[str, Estimate]
    details: Mapping[str, Any]
    checks: Sequence[PreflightCheck]


def read_variant_rows(report: Mapping[str, Any]) -> tuple[VariantRow, ...]:
    """Read the variants of a report, the smallest first."""
    rows = (_read_variant_row(variant) for variant in report["variants"])
    return tuple(sorted(rows, key=lambda row: (row.size_bytes, row.name)))


def without_controls(rows: Sequence[VariantRow]) -> tuple[VariantRow, ...]:
    """Leave out the controls, which are there only to be compared with."""
    return tuple(row for row in rows if row.control is None)


def smallest_safe_variant(
    report: Mapping[str, Any], rows: Sequence[VariantRow]
) -> VariantRow | None:
    """Return the variant of the fewest bytes that passed; None unless it saves bytes."""
    safe_rows = (row for row in without_controls(rows) if row.verdict == PASS)
    return next((row for row in safe_rows if row.size_bytes < full_size_bytes(report)), None)


def example_variant(report: Mapping[str, Any], rows: Sequence[VariantRow]) -> VariantRow | None:
    """Return the variant of the examples: the smallest safe one, else the largest that saves."""
    usable = without_controls(rows)
    smaller = [row for row in usable if row.size_bytes < full_size_bytes(report)]
    largest = (smaller or usable)[-1:]
    return smallest_safe_variant(report, rows) or next(iter(largest), None)


def full_size_bytes(report: Mapping[str, Any]) -> float:
    """Compute the bytes of a full-precision vector."""
    return float(report["inputs"]["documents"]["dim"] * FULL_BITS / 8)


def read_estimates(values: Mapping[str, Any]) -> dict[str, Estimate]:
    """Read estimates by name; null (infinite or undefined) becomes NaN."""
    return {name: read_estimate(value) for name, value in values.items()}


def read_estimate(value: Mapping[str, Any]) -> Estimate:
    """Read one {value, low, high, n}; null (infinite or undefined) becomes NaN."""
    mean, low, high = (nan if value[x] is None else float(value[x]) for x in Estimate._fields[:3])
    return Estimate(mean, low, high, value["n"])


def read_checks(checks: Sequence[Mapping[str, Any]]) -> tuple[PreflightCheck, ...]:
    """Read the preflight checks of a report or of a variant."""
    return tuple(PreflightCheck(**check) for check in checks)


def _read_variant_row(variant: Mapping[str, Any]) -> VariantRow:
    return VariantRow(
        name=variant["name"],
        dims=variant["dims"],
        series=series_label(variant),
        size_bytes=variant["size_bytes"],
        rerank=variant["rerank"],
        plan=variant.get("plan"),
        control=variant["control"],
        verdict=variant["verdict"],
        reasons=tuple(variant["reasons"]),
        queries_needed=variant.get("queries_needed"),
        metrics=read_estimates(variant["metrics"]),
        details=variant["details"],
        checks=read_checks(variant.get("preflight", ())),
    )
