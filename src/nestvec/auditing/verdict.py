"""Verdicts of variants: PASS, FAIL or INSUFFICIENT DATA, and the queries that would decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from nestvec.auditing.types import PreflightCheck, Variant
from nestvec.deprecation import field_names_before, renamed_fields, renamed_keys
from nestvec.errors import InputError
from nestvec.statistics import Estimate, queries_needed, units_needed

State = Literal["PASS", "FAIL", "INSUFFICIENT DATA"]
PASS: State = "PASS"
FAIL: State = "FAIL"
INSUFFICIENT_DATA: State = "INSUFFICIENT DATA"

_SMALLEST_DIFFERENCE = 1e-3
"""Estimates nearer to their threshold than this count as lying at it: to tell them apart takes a
hundred thousand queries and more, and then the answer matters to nobody."""
_Z = 1.959964
"""Half of a two-sided 95 % interval, in standard errors."""


@renamed_fields({"least_queries": "min_queries"})
@dataclass(frozen=True, slots=True)
class Thresholds:
    """Quality that a variant must retain. Conventions, not science: set them before an audit."""

    retention: float = 0.98
    """Least share of the full vectors' nDCG@10, where there are judgments."""
    overlap: float = 0.9
    """Least overlap with the full vectors' first 10 (ties counted), where there are none."""
    net_flips: float = 0.02
    """Largest share of hard negatives that may be lost, net of those that are won."""
    excess_fragility: float = 0.95
    """Least retention on hard negatives divided by that on random ones."""
    confidence: float = 0.95
    """One-sided, of every PASS, shared by Bonferroni among series of variants."""
    min_queries: int = 20
    """With fewer queries the verdict is INSUFFICIENT DATA."""

    @classmethod
    def read(cls, options: Mapping[str, Any] | None) -> "Thresholds":
        """Replace defaults by `options`; `InputError` for unknown names and senseless values."""
        values = renamed_keys(options or {}, field_names_before(cls), "thresholds")
        names = {field.name for field in fields(cls)}
        for name, value in values.items():
            if name not in names:
                raise InputError(f"threshold {name!r} is not known; use {', '.join(sorted(names))}")
            if name == "min_queries":
                if isinstance(value, bool) or not isinstance(value, int) or value < 2:
                    raise InputError(f"min_queries={value!r} is not a whole number of at least 2")
            elif not 0 < value < 1:
                raise InputError(f"threshold {name}={value!r} must lie between 0 and 1")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Claim:
    """The statement that a metric is at least (or at most) a threshold, with its estimate.

    On the side that matters for a PASS the interval is one-sided, at the corrected confidence.
    """

    name: str
    estimate: Estimate
    threshold: float
    at_most: bool = False
    required_for_pass: bool = True
    """True: a PASS needs its proof. False: the claim can only make a variant FAIL."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of a variant with its reasons.

    `queries_needed` is how many queries would decide, where these do not and a number exists.
    """

    state: State
    reasons: tuple[str, ...]
    queries_needed: int | None = None


def decide_verdict(
    claims: Sequence[Claim], checks: Sequence[PreflightCheck], thresholds: Thresholds
) -> Verdict:
    """Return FAIL if a check or claim fails, else INSUFFICIENT DATA if one is open, else PASS.

    A claim that is not required for a PASS counts only where it fails.
    """
    failures = tuple(check.message for check in checks if check.status == "fail")
    if failures:
        return Verdict(FAIL, failures)
    tests = [(claim.required_for_pass, _test_claim(claim, thresholds)) for claim in claims]
    decisive = [verdict for required, verdict in tests if required or verdict.state == FAIL]
    if not decisive:
        reason = "full vectors answer no query, so a variant has nothing to retain"
        return Verdict(INSUFFICIENT_DATA, (reason,))
    states = {verdict.state for verdict in decisive}
    state = next(state for state in (FAIL, INSUFFICIENT_DATA, PASS) if state in states)
    agreeing = [verdict for verdict in decisive if verdict.state == state]
    reasons = tuple(reason for verdict in agreeing for reason in verdict.reasons)
    needs = [verdict.queries_needed for verdict in agreeing]
    # Where one of the claims cannot be settled, no number of queries settles them all.
    needed = None if None in needs else max(n for n in needs if n is not None)
    return Verdict(state, reasons, needed)


def apply_fixed_sequence(variants: Sequence[Variant], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Withdraw a PASS unless every wider variant of its series passes (fixed-sequence testing).

    Testing from the widest variant downward and stopping at the first that does not pass needs no
    correction within the series. A variant that was not tested needs as many queries as the one
    that stopped the sequence. The verdicts stay in their order.
    """
    decided = list(verdicts)
    for rows in variant_series(variants).values():
        stopped: Variant | None = None
        needed: int | None = None
        for row in rows:
            if decided[row].state != PASS:
                if stopped is None:
                    stopped, needed = variants[row], decided[row].queries_needed
            elif stopped is not None:
                reason = f"{stopped.name} does not pass, so what is smaller was not tested"
                decided[row] = Verdict(INSUFFICIENT_DATA, (reason,), needed)
    return decided


def variant_series(variants: Sequence[Variant]) -> dict[Variant, list[int]]:
    """Group variants that differ in nothing but `dims`: rows of each series, widest first."""
    series: dict[Variant, list[int]] = {}
    for row, variant in enumerate(variants):
        control = None if variant.control is None else "control"
        series.setdefault(replace(variant, dims=1, control=control), []).append(row)
    return {key: sorted(rows, key=lambda row: -variants[row].dims) for key, rows in series.items()}


def corrected_confidence(variants: Sequence[Variant], confidence: float) -> float:
    """Confidence of each claim at which all series together have `confidence` (Bonferroni)."""
    return 1 - (1 - confidence) / max(1, len(variant_series(variants)))


def safe_dims(variants: Sequence[Variant], verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """List for each series the smallest dims that PASS with all wider ones, or None.

    Controls and plans are left out: of a plan there are no wider ones.

    `verdicts` are those of `apply_fixed_sequence`.
    """
    table = []
    for key, rows in variant_series(variants).items():
        if key.control is not None or key.plan is not None:
            continue
        passing = [row for row in rows if verdicts[row].state == PASS]
        table.append(
            {
                "bits": key.bits, "rotation": key.rotation, "random_dims": key.random_dims,
                "side": key.side, "rerank": key.rerank, "label": key.label,
                "dims": variants[passing[-1]].dims if passing else None,
                "tested": [variants[row].dims for row in rows],
            }
        )  # fmt: skip
    return table


def _test_claim(claim: Claim, thresholds: Thresholds) -> Verdict:
    estimate = _complement(claim.estimate) if claim.at_most else claim.estimate
    threshold = 1 - claim.threshold if claim.at_most else claim.threshold
    reason = _reason(claim)
    if estimate.high < threshold and estimate.n >= thresholds.min_queries:
        return Verdict(FAIL, (reason,))
    # So many perfect queries alone would prove it; a bootstrap of fewer sees no variation.
    n_needed = max(queries_needed(threshold, 0, thresholds.confidence), thresholds.min_queries)
    if estimate.n < n_needed:
        too_few = f"{reason}; {estimate.n} queries are too few"
        return Verdict(INSUFFICIENT_DATA, (too_few,), n_needed)
    if estimate.low >= threshold:
        return Verdict(PASS, (reason,))
    if abs(estimate.value - threshold) < _SMALLEST_DIFFERENCE:
        undecidable = f"{reason}; it lies at the threshold, where no number of queries decides"
        return Verdict(INSUFFICIENT_DATA, (undecidable,))
    n_needed = max(n_needed, _queries_needed(estimate, threshold, thresholds))
    return Verdict(INSUFFICIENT_DATA, (reason,), n_needed)


def _complement(estimate: Estimate) -> Estimate:
    """1 − the estimate: at most 0.02 is at least 0.98 of it."""
    return Estimate(1 - estimate.value, 1 - estimate.high, 1 - estimate.low, estimate.n)


def _queries_needed(estimate: Estimate, threshold: float, thresholds: Thresholds) -> int:
    """Queries that tell the value from the threshold at 80 % power, by the interval's width."""
    sd = (estimate.high - estimate.low) / (2 * _Z) * estimate.n**0.5
    difference = abs(estimate.value - threshold)
    needed = units_needed(sd, difference, confidence=thresholds.confidence)
    return max(needed, estimate.n + 1)


def _reason(claim: Claim) -> str:
    value, low, high, n = claim.estimate
    rule = "at most" if claim.at_most else "at least"
    return (
        f"{claim.name} is {value:.3f} ({low:.3f} to {high:.3f}, n={n}) "
        f"and must be {rule} {claim.threshold:g}"
    )
