"""PASS, FAIL or INSUFFICIENT DATA: what may be said of a variant, and how many queries it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from nestvec.auditing.types import Check, Variant
from nestvec.errors import InputError
from nestvec.statistics import Estimate, needed_for_difference, queries_needed

State = Literal["PASS", "FAIL", "INSUFFICIENT DATA"]
PASS: State = "PASS"
FAIL: State = "FAIL"
INSUFFICIENT: State = "INSUFFICIENT DATA"

_SMALLEST_DIFFERENCE = 1e-3
"""What is nearer to its threshold lies at it: to tell them apart takes a hundred thousand queries
and more, and then the answer matters to nobody."""
_Z = 1.959964
"""Half of a two-sided 95 % interval, in standard errors."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a variant must keep. Conventions, not science: set them before looking."""

    retention: float = 0.98
    """Of nDCG@10 by full vectors, where there are judgements."""
    overlap: float = 0.9
    """Of the full vectors' first ten (ties counted), where there are none."""
    net_flips: float = 0.02
    """Hard negatives that may be lost, net of those that are won."""
    excess_fragility: float = 0.95
    """Retention on hard negatives over that on random ones."""
    confidence: float = 0.95
    """One-sided, of every PASS, shared by Bonferroni among series of variants."""
    least_queries: int = 20
    """Fewer are told nothing but that they are too few."""

    @classmethod
    def read(cls, given: Mapping[str, Any] | None) -> "Thresholds":
        """The thresholds given, the others by default; `InputError` for unknown or senseless."""
        known = {field.name for field in fields(cls)}
        for name, value in (given or {}).items():
            if name not in known:
                raise InputError(f"threshold {name!r} is not known; use {', '.join(sorted(known))}")
            if name == "least_queries":
                if isinstance(value, bool) or not isinstance(value, int) or value < 2:
                    raise InputError(f"least_queries={value!r} is no number of at least 2")
            elif not 0 < value < 1:
                raise InputError(f"threshold {name}={value!r} must lie between 0 and 1")
        return cls(**(given or {}))


@dataclass(frozen=True, slots=True)
class Claim:
    """That a metric is at least (or at most) `limit`; `estimate` is what is known of it.

    On the side that matters for a PASS the interval is one-sided, at the confidence that is left
    after correction.
    """

    name: str
    estimate: Estimate
    limit: float
    at_most: bool = False
    proof: bool = True
    """Whether a PASS takes it; else it may only be disproven."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A state, why, and how many queries would decide it, if these do not and any number does."""

    state: State
    reasons: tuple[str, ...]
    queries_needed: int | None = None


def judge(claims: Sequence[Claim], checks: Sequence[Check], thresholds: Thresholds) -> Verdict:
    """FAIL if a check or a claim fails, else INSUFFICIENT DATA if one is open, else PASS.

    A claim that is no part of the proof is heard where it fails, and else not.
    """
    failed = tuple(check.said for check in checks if check.status == "fail")
    if failed:
        return Verdict(FAIL, failed)
    heard = [(claim.proof, _decide(claim, thresholds)) for claim in claims]
    decided = [verdict for proof, verdict in heard if proof or verdict.state == FAIL]
    if not decided:
        return Verdict(INSUFFICIENT, ("full vectors answer no query: there is nothing to keep",))
    state = next(s for s in (FAIL, INSUFFICIENT, PASS) if any(v.state == s for v in decided))
    same = [verdict for verdict in decided if verdict.state == state]
    reasons = tuple(reason for verdict in same for reason in verdict.reasons)
    needed = [verdict.queries_needed for verdict in same]
    # Where one of them cannot be settled, no number settles them all.
    most = None if None in needed else max(n for n in needed if n is not None)
    return Verdict(state, reasons, most)


def in_sequence(variants: Sequence[Variant], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """A PASS counts only if every larger variant of its series passes (fixed-sequence testing).

    Testing from the safest variant downward and stopping at the first that does not pass needs no
    correction within the series. What was not tested waits for what was: it takes as many queries,
    if any number will do. The verdicts stay in their order.
    """
    decided = list(verdicts)
    for rows in series(variants).values():
        stopped: Variant | None = None
        needed: int | None = None
        for row in rows:
            if decided[row].state != PASS:
                if stopped is None:
                    stopped, needed = variants[row], decided[row].queries_needed
            elif stopped is not None:
                reason = f"{stopped.name} does not pass, so what is smaller was not tested"
                decided[row] = Verdict(INSUFFICIENT, (reason,), needed)
    return decided


def series(variants: Sequence[Variant]) -> dict[Variant, list[int]]:
    """Rows of variants that differ in nothing but `dims`, widest first."""
    found: dict[Variant, list[int]] = {}
    for row, variant in enumerate(variants):
        control = None if variant.control is None else "control"
        found.setdefault(replace(variant, dims=1, control=control), []).append(row)
    return {key: sorted(rows, key=lambda row: -variants[row].dims) for key, rows in found.items()}


def shared_confidence(variants: Sequence[Variant], confidence: float) -> float:
    """The confidence of each claim at which all series together have `confidence` (Bonferroni)."""
    return 1 - (1 - confidence) / max(1, len(series(variants)))


def safe_dims(variants: Sequence[Variant], verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Per series that is no control, the smallest dims that PASS with all larger ones, or None."""
    found = []
    for key, rows in series(variants).items():
        if key.control is not None:
            continue
        passed = [row for row in rows if verdicts[row].state == PASS]
        found.append(
            {
                "bits": key.bits, "rotation": key.rotation, "side": key.side,
                "rescore": key.rescore, "label": key.label,
                "dims": variants[passed[-1]].dims if passed else None,
                "tested": [variants[row].dims for row in rows],
            }
        )  # fmt: skip
    return found


def _decide(claim: Claim, thresholds: Thresholds) -> Verdict:
    estimate = _mirrored(claim.estimate) if claim.at_most else claim.estimate
    limit = 1 - claim.limit if claim.at_most else claim.limit
    said = _said(claim)
    if estimate.high < limit and estimate.n >= thresholds.least_queries:
        return Verdict(FAIL, (said,))
    # So many perfect queries alone would prove it; a bootstrap of fewer sees no variation.
    least = max(queries_needed(limit, 0, thresholds.confidence), thresholds.least_queries)
    if estimate.n < least:
        return Verdict(INSUFFICIENT, (f"{said}; {estimate.n} queries are too few",), least)
    if estimate.low >= limit:
        return Verdict(PASS, (said,))
    if abs(estimate.value - limit) < _SMALLEST_DIFFERENCE:
        at = f"{said}; it lies at the threshold, where no number of queries decides"
        return Verdict(INSUFFICIENT, (at,))
    return Verdict(INSUFFICIENT, (said,), max(least, _needed(estimate, limit, thresholds)))


def _mirrored(estimate: Estimate) -> Estimate:
    """1 − the estimate: at most 0.02 is at least 0.98 of it."""
    return Estimate(1 - estimate.value, 1 - estimate.high, 1 - estimate.low, estimate.n)


def _needed(estimate: Estimate, limit: float, thresholds: Thresholds) -> int:
    """By the width of the interval: queries that tell the value from the limit, at 80 % power."""
    sd = (estimate.high - estimate.low) / (2 * _Z) * estimate.n**0.5
    difference = abs(estimate.value - limit)
    needed = needed_for_difference(sd, difference, confidence=thresholds.confidence)
    return max(needed, estimate.n + 1)


def _said(claim: Claim) -> str:
    value, low, high, n = claim.estimate
    rule = "at most" if claim.at_most else "at least"
    return (
        f"{claim.name} is {value:.3f} ({low:.3f} to {high:.3f}, n={n}) "
        f"and must be {rule} {claim.limit:g}"
    )
