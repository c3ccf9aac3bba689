"""Audit report: one JSON value, with its tables, files and comparisons.

Its fields: `schema`, `nestvec` (its version), `created_at` (UTC, or null), `command`, `seed`,
`inputs` (sizes and SHA-256), `thresholds`, `preflight`, `full` (metrics of the full vectors),
`variants`, `asymmetry` (retention where only one side is coded), `safe_dims`, `knee`,
`worst_queries` (by the name of the variant) and `texts` (beginnings of the documents that these
name first, by id). Each of `variants` has `name`, `dims`, `bits`, `rotation`, `random_dims`,
`side`, `rerank`, `control`, `label`, `size_bytes`, `verdict`, `reasons`, `queries_needed`,
`metrics`, `details`, `preflight`, and in `equal_bytes` the names of the other variants of its size.
Each of `metrics` is {"value", "low", "high", "n"}; null where a number is infinite or undefined.
"""

import json
import math
import warnings
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.auditing.reporting.comparison import compare_reports
from nestvec.auditing.reporting.junit import junit_tree
from nestvec.auditing.reporting.schema import SCHEMA, SCHEMA_1, upgrade
from nestvec.auditing.reporting.table import report_html, report_text
from nestvec.auditing.verdict import FAIL
from nestvec.deprecation import renamed_arguments, renamed_attributes, warn_renamed
from nestvec.errors import DataError
from nestvec.json_text import parse_json
from nestvec.statistics import Estimate


@dataclass(frozen=True, repr=False)
class AuditReport:
    """Result of an audit. `content` is JSON, apart from the estimates and NumPy numbers in it."""

    content: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | Path) -> "AuditReport":
        """Read a saved report; one of schema 1 is upgraded, with a `DeprecationWarning`.

        `DataError` for a file that cannot be read or is not a report.
        """
        try:
            content = parse_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as e:
            raise DataError(
                f"{path} cannot be read as a report ({e}); pass a report.json"
            ) from None
        schema = content.get("schema") if isinstance(content, dict) else None
        if schema not in (SCHEMA, SCHEMA_1) or not isinstance(content.get("variants"), list):
            raise DataError(f"{path} is no report of schema {SCHEMA}; run the audit again")
        if schema == SCHEMA_1:
            warnings.warn(
                f"{path} has schema {SCHEMA_1}, which was read as {SCHEMA}; save it again with "
                "save_json to keep it so",
                DeprecationWarning,
                stacklevel=2,
            )
            content = _upgraded(content, path)
        return cls(content)

    @property
    def verdicts(self) -> dict[str, str]:
        """Verdicts by the names of the variants."""
        return {variant["name"]: variant["verdict"] for variant in self.content["variants"]}

    @property
    def failed_variants(self) -> tuple[str, ...]:
        """Names of the variants that FAIL, without the controls, which are there to be worse."""
        return tuple(
            variant["name"]
            for variant in self.content["variants"]
            if variant["verdict"] == FAIL and variant["control"] is None
        )

    def with_provenance(self, command: str, created_at: datetime) -> "AuditReport":
        """Return the same report with the command that reproduces it and the time of its making.

        `audit` leaves the time out, so that equal input and seed give an equal report.
        """
        timestamp = created_at.astimezone(timezone.utc).isoformat(timespec="seconds")
        content = {**self.content, "command": command, "created_at": timestamp}
        return replace(self, content=content)

    def to_json(self) -> dict[str, Any]:
        """Copy the whole report as JSON values."""
        content: dict[str, Any] = to_plain(self.content)
        return content

    def save_json(self, path: str | Path) -> None:
        """Write the report as JSON, which `load` reads."""
        text = json.dumps(self.to_json(), ensure_ascii=False, indent=1, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def save_html(self, path: str | Path) -> None:
        """Write the report as one HTML page, which needs no network and no other file.

        `MissingExtraError` without the extra "audit".
        """
        from nestvec.auditing.reporting.page import save_html

        save_html(self.to_json(), path)

    def save_junit(self, path: str | Path) -> None:
        """Write a JUnit test suite with a case per variant; INSUFFICIENT DATA is skipped."""
        junit_tree(self.to_json()).write(path, encoding="utf-8", xml_declaration=True)

    @renamed_arguments({"old": "previous"})
    def compare(self, previous: "AuditReport") -> list[dict[str, Any]]:
        """List the variants of both reports with their `old` and `new` verdicts.

        Also their `changed_metrics`: those whose intervals do not contain the other report's value.
        """
        return compare_reports(previous.to_json(), self.to_json())

    def __str__(self) -> str:
        """Return the report as a table, with the safe dims below."""
        return report_text(self.to_json())

    def __repr__(self) -> str:
        """Return the number of variants by verdict on one line."""
        verdicts = Counter(self.verdicts.values())
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
        return f"<AuditReport of {len(self.content['variants'])} variants: {counts}>"

    def _repr_html_(self) -> str:
        """Return the table as HTML, for notebooks."""
        return report_html(self.to_json())

    @property
    def failed(self) -> tuple[str, ...]:
        """Deprecated name of `failed_variants`."""
        warn_renamed("AuditReport.failed", "AuditReport.failed_variants")
        return self.failed_variants

    @renamed_arguments({"made": "created_at"})
    def signed(self, command: str, created_at: datetime) -> "AuditReport":
        """Do as `with_provenance`, under its deprecated name."""
        warn_renamed("AuditReport.signed", "AuditReport.with_provenance")
        return self.with_provenance(command, created_at)


__getattr__ = renamed_attributes(__name__, {"Report": ("AuditReport", AuditReport)})


def _upgraded(content: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    try:
        return upgrade(content)
    except (AttributeError, KeyError, TypeError) as e:
        raise DataError(
            f"{path} says that it is a report of schema {SCHEMA_1}, but is not complete "
            f"({e!r}); run the audit again"
        ) from None


def to_plain(value: Any) -> Any:
    """Convert estimates and NumPy numbers to JSON values; infinity and NaN become null."""
    if isinstance(value, Estimate):
        return to_plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): to_plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(part) for part in value]
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return deepcopy(value)
