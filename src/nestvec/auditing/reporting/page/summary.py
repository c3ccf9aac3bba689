"""First screen of the page: the verdict, the bytes saved and three numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nestvec.auditing.reporting.formatting import format_ratio, format_size
from nestvec.auditing.reporting.page.metrics import HEADLINES, Metric, describe_reason
from nestvec.auditing.reporting.page.variant_rows import (
    VariantRow,
    example_variant,
    full_size_bytes,
    read_checks,
    smallest_safe_variant,
    without_controls,
)
from nestvec.auditing.verdict import FAIL, INSUFFICIENT_DATA, PASS, State
from nestvec.statistics import Estimate

VERDICT_CLASSES: Mapping[State, str] = {PASS: "pass", FAIL: "fail", INSUFFICIENT_DATA: "wait"}
"""Classes of the style sheet, by verdict."""

_MAX_NUMBERS = 3
_MAX_LISTED = 3


@dataclass(frozen=True, slots=True)
class HeadlineNumber:
    """A number of the first screen with its title, its interval and its meaning."""

    title: str
    value: str
    text: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Content of the first screen; `missing` lists the variants with too little data."""

    verdict: State
    headline: str
    sentences: Sequence[str]
    numbers: Sequence[HeadlineNumber]
    missing: Sequence[str]

    @property
    def kind(self) -> str:
        """Class of the verdict in the style sheet."""
        return VERDICT_CLASSES[self.verdict]


def summarise(report: Mapping[str, Any], rows: Sequence[VariantRow]) -> Summary:
    """Name the smallest safe variant and what it saves, or say why there is none.

    Where a preflight check failed, the summary says that alone: the vectors are not what they were
    taken for, so no number of theirs means anything.
    """
    checks = read_checks(report.get("preflight", ()))
    failures = [check.message for check in checks if check.status == "fail"]
    if failures:
        headline = "The vectors fail the preflight: fix that first, then run the audit again"
        return Summary(FAIL, headline, failures, (), ())
    safe, example = smallest_safe_variant(report, rows), example_variant(report, rows)
    numbers = _headline_numbers(report, example) if example else []
    missing = _missing_data(rows)
    if safe:
        size = f"{safe.dims} dimensions, {safe.series}" if safe.plan is None else safe.name
        headline = f"Smallest safe size: {size}"
        sentences = (*_savings(report, safe), *_unmeasured(rows, safe))
        return Summary(PASS, headline, sentences, numbers, missing)
    sentences = _example_sentences(example)
    if missing:
        headline = "Too little data to call any smaller size safe"
        return Summary(INSUFFICIENT_DATA, headline, sentences, numbers, missing)
    return Summary(FAIL, "None of the smaller sizes tested is safe", sentences, numbers, ())


def _example_sentences(example: VariantRow | None) -> tuple[str, ...]:
    if example is None:
        return ()
    return (f"The numbers below are for {example.name}, the largest of the smaller sizes.",)


def _savings(report: Mapping[str, Any], safe: VariantRow) -> list[str]:
    n, full = report["inputs"]["documents"]["n"], full_size_bytes(report)
    sentences = [
        f"A vector takes {format_size(safe.size_bytes)} instead of {format_size(full)}, "
        f"{format_ratio(full / safe.size_bytes)} times less. The {n:,} documents take "
        f"{format_size(n * safe.size_bytes)} instead of {format_size(n * full)}."
    ]
    if safe.rerank:
        sentences.append(
            f"The best {safe.rerank} results are reranked by the full vectors. These may stay on "
            "disk and are not counted here."
        )
    return sentences


def _unmeasured(rows: Sequence[VariantRow], safe: VariantRow) -> list[str]:
    """Name what a PASS does not cover, though it was measured for other variants."""
    if "net_flips" in safe.metrics or not any("net_flips" in row.metrics for row in rows):
        return []
    return ["Hard negatives were measured for other variants, but not for this one."]


def _headline_numbers(report: Mapping[str, Any], row: VariantRow) -> list[HeadlineNumber]:
    # Where queries come in groups, some metrics count the groups.
    units = "queries or groups of queries" if report["inputs"].get("groups") else "queries"
    metrics = [metric for metric in HEADLINES if metric.name in row.metrics][:_MAX_NUMBERS]
    return [_headline_number(metric, row.metrics[metric.name], units) for metric in metrics]


def _headline_number(metric: Metric, estimate: Estimate, units: str) -> HeadlineNumber:
    low, high = metric.format(estimate.low), metric.format(estimate.high)
    text = f"{low} to {high}, from {estimate.n:,} {units}. {metric.meaning}"
    return HeadlineNumber(metric.title, metric.format(estimate.value), text)


def _missing_data(rows: Sequence[VariantRow]) -> list[str]:
    undecided = [row for row in without_controls(rows) if row.verdict == INSUFFICIENT_DATA]
    sentences = [
        f"{row.name}: {'; '.join(map(describe_reason, row.reasons))}{_queries_needed(row)}"
        for row in undecided[:_MAX_LISTED]
    ]
    n_more = len(undecided) - len(sentences)
    return [*sentences, f"and {n_more} more, in the table of all variants"] if n_more else sentences


def _queries_needed(row: VariantRow) -> str:
    return f" (about {row.queries_needed:,} queries would decide it)" if row.queries_needed else ""
