"""Formats of numbers, intervals, sizes and times for readers."""

import math
import re
from collections.abc import Mapping
from typing import Any

from nestvec.auditing.types import FULL_BITS
from nestvec.statistics import Estimate

MISSING = "–"
"""A number that was not measured, is infinite, or is not defined."""


def format_number(value: float) -> str:
    """Format with three decimals; whole numbers above 1, and numbers from 100 on, with none."""
    if not math.isfinite(value):
        return MISSING
    is_whole = abs(value) >= 100 or (abs(value) > 1 and value == int(value))
    return f"{value:,.0f}" if is_whole else f"{value:.3f}"


def format_percent(share: float) -> str:
    """Format a share as a percentage with one decimal."""
    return f"{share:.1%}" if math.isfinite(share) else MISSING


def format_interval(estimate: Estimate) -> str:
    """Format the interval of an estimate: "0.975 to 0.990"."""
    return f"{format_number(estimate.low)} to {format_number(estimate.high)}"


def format_estimate(estimate: Estimate) -> str:
    """Format value, interval and sample size on one line, for the tooltip of a chart."""
    return f"{format_number(estimate.value)} ({format_interval(estimate)}; n = {estimate.n:,})"


def format_ratio(ratio: float) -> str:
    """Format a ratio such as 10.7 with three significant digits."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def format_size(size_bytes: float) -> str:
    """Format bytes in the unit that fits, by powers of 1000; below 10,000 bytes, in bytes."""
    value = float(size_bytes)
    if value < 10_000:
        return f"{value:,.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.5:
            return f"{value:.3g} {unit}"
    return f"{value / 1000:,.3g} TB"


def format_time(timestamp: str | None) -> str:
    """Format an ISO 8601 time in UTC to the minute: "2026-11-21 18:57 UTC"; "" for None."""
    return re.sub(r"T(\d\d:\d\d):\d\d\+00:00$", r" \1 UTC", timestamp or "")


def series_label(variant: Mapping[str, Any]) -> str:
    """Label the series of a variant, without its dims: "1 bit, PCA rotation, best 100 reranked"."""
    if plan := variant.get("plan"):
        return f"plan {plan}"
    bits, label = variant["bits"], variant.get("label")
    parts = [
        *([label] if label else []),
        *(["random dims"] if variant["random_dims"] else []),
        "full precision" if bits == FULL_BITS else f"{bits} bit{'s' if bits > 1 else ''}",
        *(["PCA rotation"] if variant["rotation"] == "pca" else []),
        *([] if variant["side"] == "both" else [f"{variant['side']} only"]),
        *([f"best {variant['rerank']} reranked"] if variant["rerank"] else []),
    ]
    return ", ".join(parts)
