"""Comparison of two reports: verdicts and metrics that changed."""

from collections.abc import Iterator, Mapping
from typing import Any


def compare_reports(previous: Mapping[str, Any], report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the variants of both reports with their `old` and `new` verdicts and changed metrics.

    A metric has changed if neither interval contains the value of the other report.
    """
    old_variants = {variant["name"]: variant for variant in previous["variants"]}
    return [
        {
            "name": variant["name"],
            "old": old["verdict"],
            "new": variant["verdict"],
            "changed_metrics": dict(_changed_metrics(old["metrics"], variant["metrics"])),
        }
        for variant in report["variants"]
        if (old := old_variants.get(variant["name"])) is not None
    ]


def _changed_metrics(
    old_metrics: Mapping[str, Any], new_metrics: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in new_metrics.keys() & old_metrics.keys():
        old, new = old_metrics[name], new_metrics[name]
        if not (_contains(old, new["value"]) or _contains(new, old["value"])):
            yield name, {"old": old["value"], "new": new["value"]}


def _contains(estimate: Mapping[str, Any], value: float | None) -> bool:
    """Check that a value lies in an interval; an end that is null is open."""
    low, high = estimate["low"], estimate["high"]
    return value is None or ((low is None or low <= value) and (high is None or value <= high))
