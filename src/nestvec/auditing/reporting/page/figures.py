"""How numbers are written on the page."""

import math
import re

from nestvec.statistics import Estimate

NOTHING = "–"


def number(value: float) -> str:
    """Three digits after the point; whole numbers above 1, and what is at least 100, without."""
    if not math.isfinite(value):
        return NOTHING
    whole = abs(value) >= 100 or (abs(value) > 1 and value == int(value))
    return f"{value:,.0f}" if whole else f"{value:.3f}"


def percent(share: float) -> str:
    """A share with one digit after the point."""
    return f"{share:.1%}" if math.isfinite(share) else NOTHING


def span(estimate: Estimate) -> str:
    """The interval: "0.975 to 0.990"."""
    return f"{number(estimate.low)} to {number(estimate.high)}"


def sentence(estimate: Estimate) -> str:
    """Value, interval and sample in one line, as a chart's tooltip says it."""
    return f"{number(estimate.value)} ({span(estimate)}; n = {estimate.n:,})"


def times(ratio: float) -> str:
    """How many times: three digits."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def size(size_bytes: float) -> str:
    """Bytes in the unit that a reader would choose, by powers of 1000."""
    value = float(size_bytes)
    if value < 1000:
        return f"{value:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.5:
            return f"{value:.3g} {unit}"
    return f"{value / 1000:,.3g} TB"


def moment(at: str | None) -> str:
    """A time as ISO 8601 has it, in UTC, to the minute: "2026-11-21 18:57 UTC"."""
    return re.sub(r"T(\d\d:\d\d):\d\d\+00:00$", r" \1 UTC", at or "")
