"""JUnit XML of a report, for continuous integration."""

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from nestvec.auditing.verdict import FAIL, INSUFFICIENT_DATA


def junit_tree(report: Mapping[str, Any]) -> ElementTree.ElementTree:
    """Make a test suite with a case per variant, which prints the metrics of the variant.

    A FAIL is a failure, INSUFFICIENT DATA is skipped. A control never fails: it is there to be
    worse than what it is compared with.
    """
    suite = ElementTree.Element("testsuite", name="nestvec audit")
    counts = {"tests": 0, "failures": 0, "skipped": 0}
    for variant in report["variants"]:
        case = ElementTree.SubElement(
            suite, "testcase", classname="nestvec.audit", name=variant["name"]
        )
        counts["tests"] += 1
        has_failed = variant["verdict"] == FAIL and variant["control"] is None
        if has_failed or variant["verdict"] == INSUFFICIENT_DATA:
            tag = "failure" if has_failed else "skipped"
            counts["failures" if has_failed else "skipped"] += 1
            ElementTree.SubElement(case, tag, message="; ".join(variant["reasons"]))
        lines = (
            f"{name} {_describe_metric(metric)}" for name, metric in variant["metrics"].items()
        )
        ElementTree.SubElement(case, "system-out").text = "\n".join(lines)
    suite.attrib |= {name: str(count) for name, count in counts.items()}
    return ElementTree.ElementTree(suite)


def _describe_metric(metric: Mapping[str, Any]) -> str:
    value, low, high = (
        "–" if metric[part] is None else f"{metric[part]:.4g}" for part in ("value", "low", "high")
    )
    return f"{value} ({low} to {high}, n={metric['n']})"
