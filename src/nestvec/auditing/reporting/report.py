"""The report: one JSON value, and what is read out of it.

Its fields: `schema`, `nestvec` (its version), `made` (UTC, or null), `command`, `seed`, `inputs`
(sizes and SHA-256), `thresholds`, `preflight`, `full` (metrics of the full vectors), `variants`,
`asymmetry` (what is kept where one side alone is coded), `safe_dims`, `knee`, `worst_queries` (by
the name of the variant) and `texts` (how documents among these begin, by id). Each of `variants`
has `name`, `dims`, `bits`, `rotation`, `side`, `rescore`, `control`, `label`, `bytes`, `verdict`,
`reasons`, `queries_needed`, `metrics`, `details`, `preflight`, and in `equal_bytes` the names of
others of its size. Each of `metrics` is {"value", "low", "high", "n"}; null where a number is
infinite or not defined.
"""

import json
import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from nestvec.auditing.verdict import FAIL, INSUFFICIENT
from nestvec.errors import DataError
from nestvec.statistics import Estimate

SCHEMA = "nestvec.audit/1"


@dataclass(frozen=True)
class Report:
    """What an audit found. `content` is JSON but for estimates and NumPy numbers in it."""

    content: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | Path) -> "Report":
        """A report that was saved; `DataError` for a file that is none."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as e:
            raise DataError(
                f"{path} cannot be read as a report ({e}); give a report.json"
            ) from None
        is_one = isinstance(content, dict) and content.get("schema") == SCHEMA
        if not is_one or not isinstance(content.get("variants"), list):
            raise DataError(f"{path} is no report of schema {SCHEMA}; run the audit again")
        return cls(content)

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdict of each variant by its name."""
        return {one["name"]: one["verdict"] for one in self.content["variants"]}

    @property
    def failed(self) -> tuple[str, ...]:
        """The variants that FAIL, controls aside: those are there to be worse."""
        return tuple(
            one["name"]
            for one in self.content["variants"]
            if one["verdict"] == FAIL and one["control"] is None
        )

    def signed(self, command: str, made: datetime) -> "Report":
        """The same report with the command that makes it again, and when this one was made.

        Both say where a report comes from and not what it found: `audit` leaves the time out, so
        that equal input and seed give an equal report.
        """
        at = made.astimezone(timezone.utc).isoformat(timespec="seconds")
        return replace(self, content={**self.content, "command": command, "made": at})

    def to_json(self) -> dict[str, Any]:
        """The whole report as JSON values, the caller's to change."""
        content: dict[str, Any] = plain(self.content)
        return content

    def save_json(self, path: str | Path) -> None:
        """Write `to_json` to a file."""
        text = json.dumps(self.to_json(), ensure_ascii=False, indent=1, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def save_junit(self, path: str | Path) -> None:
        """Write a JUnit test suite: a case per variant, skipped where data do not suffice.

        What a case prints is its metrics, a line each.
        """
        suite = ElementTree.Element("testsuite", name="nestvec audit")
        counts = {"tests": 0, "failures": 0, "skipped": 0}
        for one in self.to_json()["variants"]:
            case = ElementTree.SubElement(
                suite, "testcase", classname="nestvec.audit", name=one["name"]
            )
            counts["tests"] += 1
            # A control that is worse than what it is held against is no failure.
            failing = one["verdict"] == FAIL and one["control"] is None
            if failing or one["verdict"] == INSUFFICIENT:
                tag = "failure" if failing else "skipped"
                counts["failures" if failing else "skipped"] += 1
                ElementTree.SubElement(case, tag, message="; ".join(one["reasons"]))
            lines = (f"{name} {_in_words(metric)}" for name, metric in one["metrics"].items())
            ElementTree.SubElement(case, "system-out").text = "\n".join(lines)
        suite.attrib |= {name: str(count) for name, count in counts.items()}
        ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)

    def compare(self, old: "Report") -> list[dict[str, Any]]:
        """What became of each variant that both reports have: verdicts, and metrics that moved.

        A metric moved if neither interval holds the other's value.
        """
        before = {one["name"]: one for one in old.to_json()["variants"]}
        return [
            {
                "name": one["name"],
                "before": before[one["name"]]["verdict"],
                "after": one["verdict"],
                "moved": dict(_moved(before[one["name"]]["metrics"], one["metrics"])),
            }
            for one in self.to_json()["variants"]
            if one["name"] in before
        ]


def _moved(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in after.keys() & before.keys():
        old, new = before[name], after[name]
        if not (_holds(old, new["value"]) or _holds(new, old["value"])):
            yield name, {"before": old["value"], "after": new["value"]}


def _in_words(metric: Mapping[str, Any]) -> str:
    value, low, high = (
        "–" if metric[part] is None else f"{metric[part]:.4g}" for part in ("value", "low", "high")
    )
    return f"{value} ({low} to {high}, n={metric['n']})"


def _holds(estimate: Mapping[str, Any], value: float | None) -> bool:
    """Whether a value lies in an interval; an end that is null is open."""
    low, high = estimate["low"], estimate["high"]
    return value is None or ((low is None or low <= value) and (high is None or value <= high))


def plain(value: Any) -> Any:
    """Estimates and NumPy numbers as JSON has them; infinity and NaN, which it has not, as null."""
    if isinstance(value, Estimate):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return deepcopy(value)
