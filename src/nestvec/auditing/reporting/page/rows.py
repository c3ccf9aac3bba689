"""The report's variants, estimates and checks as the page sees them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

from nestvec.auditing.types import FULL_BITS, Check
from nestvec.auditing.verdict import PASS, State
from nestvec.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Row:
    """One variant: its size, its verdict and its numbers."""

    name: str
    dims: int
    family: str
    """What it shares with the variants that differ in `dims` alone, in words."""
    size_bytes: float
    rescore: int
    control: str | None
    verdict: State
    reasons: Sequence[str]
    queries_needed: int | None
    metrics: Mapping[str, Estimate]
    details: Mapping[str, Any]
    checks: Sequence[Check]


def read_rows(report: Mapping[str, Any]) -> tuple[Row, ...]:
    """The variants, smallest first."""
    rows = (_read_row(variant) for variant in report["variants"])
    return tuple(sorted(rows, key=lambda row: (row.size_bytes, row.name)))


def candidates(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Those that somebody may use; controls are there to be compared with."""
    return tuple(row for row in rows if row.control is None)


def smallest_safe(report: Mapping[str, Any], rows: Sequence[Row]) -> Row | None:
    """The candidate of the fewest bytes that passed; None unless it saves any."""
    passed = (row for row in candidates(rows) if row.verdict == PASS)
    return next((row for row in passed if row.size_bytes < full_bytes(report)), None)


def featured(report: Mapping[str, Any], rows: Sequence[Row]) -> Row | None:
    """The variant of the examples: the smallest safe one, else the largest that saves bytes."""
    smaller = [row for row in candidates(rows) if row.size_bytes < full_bytes(report)]
    largest = (smaller or candidates(rows))[-1:]
    return smallest_safe(report, rows) or next(iter(largest), None)


def full_bytes(report: Mapping[str, Any]) -> float:
    """What a full vector takes."""
    return float(report["inputs"]["documents"]["dim"] * FULL_BITS / 8)


def read_estimates(values: Mapping[str, Any]) -> dict[str, Estimate]:
    """The estimates by name; null, which JSON has for what is infinite or undefined, is NaN."""
    return {name: read_estimate(value) for name, value in values.items()}


def read_estimate(value: Mapping[str, Any]) -> Estimate:
    """One {value, low, high, n}."""
    mean, low, high = (nan if value[x] is None else float(value[x]) for x in Estimate._fields[:3])
    return Estimate(mean, low, high, value["n"])


def read_checks(checks: Sequence[Mapping[str, Any]]) -> tuple[Check, ...]:
    """A preflight."""
    return tuple(Check(**check) for check in checks)


def family_of(variant: Mapping[str, Any]) -> str:
    """What variants of a series share, in words: "1 bit, pca, best 100 rescored"."""
    bits, label = variant["bits"], variant.get("label")
    words = [
        *([label] if label else []),
        "full precision" if bits == FULL_BITS else f"{bits} bit{'s' if bits > 1 else ''}",
        *([] if variant["rotation"] == "none" else [variant["rotation"]]),
        *([] if variant["side"] == "both" else [f"{variant['side']} only"]),
        *([f"best {variant['rescore']} rescored"] if variant["rescore"] else []),
    ]
    return ", ".join(words)


def _read_row(variant: Mapping[str, Any]) -> Row:
    return Row(
        name=variant["name"],
        dims=variant["dims"],
        family=family_of(variant),
        size_bytes=variant["bytes"],
        rescore=variant["rescore"],
        control=variant["control"],
        verdict=variant["verdict"],
        reasons=tuple(variant["reasons"]),
        queries_needed=variant.get("queries_needed"),
        metrics=read_estimates(variant["metrics"]),
        details=variant["details"],
        checks=read_checks(variant.get("preflight", ())),
    )
