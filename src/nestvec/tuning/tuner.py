"""Learn then Test: plans are put in order on some queries and certified on others."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from nestvec.errors import InputError
from nestvec.index import Index
from nestvec.plan import Plan
from nestvec.progress import Progress
from nestvec.shapes import Float64, Int64
from nestvec.statistics import fewest
from nestvec.tuning.candidate_plans import plan_grid, safest_first, shortlists
from nestvec.tuning.guarantee import Promise
from nestvec.tuning.losses import Measured, measure
from nestvec.tuning.queries import Asked
from nestvec.tuning.tuned import Trial, Tuned, Verdict

_ORDERING_SHARE = 4
"""One query in so many puts the plans in order …"""
_MOST_ORDERING = 500
"""… up to so many: a wrong order costs a cheaper plan, never the promise."""

Measure = Callable[[Plan], Measured]


def run(
    index: Index,
    asked: Asked,
    promise: Promise,
    plans: Sequence[str | Plan] | None,
    seed: int,
    progress: Progress,
) -> Tuned:
    """What `nestvec.tune` does."""
    rows_checksum = index.snapshot.contents.rows_checksum()
    grid = candidates(index, promise, plans)
    questions = asked.of(index, promise, progress)
    rng = np.random.default_rng(seed)
    ordering, certifying = split(len(questions), rng)
    sequence = in_order(grid, partial(measure, questions[ordering], promise), progress)
    on_others = partial(measure, questions[certifying], promise)
    trials, kept = certify(sequence, on_others, promise, progress)
    passed = chosen(trials, promise)
    return Tuned(
        verdict=_verdict(passed, kept, promise),
        promise=promise,
        plan=passed,
        served=promise.estimate(kept, rng),
        lower_bound=promise.lower_bound(kept),
        needed=None if passed else _all_needed(promise.queries_needed(kept)),
        trials=trials,
        queries=len(questions),
        optimistic=questions.optimistic,
        seed=seed,
        rows_checksum=rows_checksum,
    )


def candidates(index: Index, promise: Promise, plans: Sequence[str | Plan] | None) -> list[Plan]:
    """The plans to choose from: those given, or the grid."""
    found = plan_grid(index.snapshot, promise.k) if plans is None else _given(plans)
    return shortlists(found, len(index)) if promise.loss == "containment" else found


def split(
    count: int, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " ordering"], Int64[np.ndarray, " certifying"]]:
    """Which queries put the plans in order, and which others certify them."""
    if count < 2:
        raise InputError(f"{count} queries cannot be held out from one another; give hundreds")
    shuffled = rng.permutation(count)
    return shuffled[: _ordering(count)], shuffled[_ordering(count) :]


def _ordering(count: int) -> int:
    return min(_MOST_ORDERING, max(1, count // _ORDERING_SHARE))


def _all_needed(certifying: int | None) -> int | None:
    """How many queries to give so that so many certify."""
    if certifying is None:
        return None
    return fewest(lambda count: count - _ordering(count) >= certifying)


def in_order(plans: Sequence[Plan], measure: Measure, progress: Progress) -> list[Plan]:
    """The plans worth testing, the safest and dearest first."""
    risks, costs = np.empty(len(plans)), np.empty(len(plans))
    with progress("ordering plans", len(plans)) as advance:
        for place, plan in enumerate(plans):
            served, costs[place] = measure(plan)
            risks[place] = 1 - served.mean()
            advance(1)
    return [plans[place] for place in safest_first(risks, costs)]


def certify(
    sequence: Sequence[Plan], measure: Measure, promise: Promise, progress: Progress
) -> tuple[tuple[Trial, ...], Float64[np.ndarray, " q"]]:
    """Test plan after plan until one fails; and how the last that passed serves each query.

    Or, where none passed, how the first does. No correction is needed for many tests: a bad plan is
    taken only if the first bad one in the sequence passes, which is one test.
    """
    trials: list[Trial] = []
    best = np.empty(0)
    with progress("certifying plans", len(sequence)) as advance:
        for plan in sequence:
            measured = measure(plan)
            kept = promise.kept(measured.served)
            p_value = promise.p_missed(kept)
            trials.append(Trial(plan, float(kept.mean()), p_value, measured.bytes_per_query))
            if p_value <= promise.delta or len(trials) == 1:
                best = kept
            if p_value > promise.delta:
                break
            advance(1)
    return tuple(trials), best


def chosen(trials: Sequence[Trial], promise: Promise) -> Plan | None:
    """The last plan that passed."""
    passed = [trial.plan for trial in trials if trial.p_value <= promise.delta]
    return passed[-1] if passed else None


def _verdict(passed: Plan | None, kept: Float64[np.ndarray, " q"], promise: Promise) -> Verdict:
    if passed is not None:
        return "CERTIFIED"
    return "OUT OF REACH" if promise.p_reached(kept) <= promise.delta else "INSUFFICIENT DATA"


def _given(plans: Sequence[str | Plan]) -> list[Plan]:
    if not plans:
        raise InputError("there is no plan to test; give some, or None for a grid of them")
    parsed = (Plan.parse(plan) if isinstance(plan, str) else plan for plan in plans)
    return list(dict.fromkeys(parsed))
