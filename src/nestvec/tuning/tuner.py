"""Learn then Test: order plans on some queries, test them in that order on others."""

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np

from nestvec.errors import InputError
from nestvec.index import Index
from nestvec.keywords import check_seed
from nestvec.plan import Plan
from nestvec.progress import Progress
from nestvec.shapes import Float64, Int64
from nestvec.statistics import smallest_true
from nestvec.tuning.candidate_plans import (
    candidate_plans,
    pareto_front,
    shortlist_plans,
    widest_plans,
)
from nestvec.tuning.evidence import query_keys
from nestvec.tuning.guarantee import Guarantee
from nestvec.tuning.plan_scores import PlanScores, measure_plan
from nestvec.tuning.queries import EvaluationQueries
from nestvec.tuning.tuned import PlanTest, TunedPlan, TuneVerdict

_QUERIES_PER_ORDERING = 4
"""One query in four orders the plans …"""
_MAX_ORDERING = 500
"""… up to 500: a poor order costs a cheaper plan, never the guarantee."""

ScorePlan = Callable[[Plan], PlanScores]


def tune_plan(
    index: Index,
    queries: EvaluationQueries,
    guarantee: Guarantee,
    plans: Sequence[str | Plan] | None,
    seed: int,
    progress: Progress,
) -> TunedPlan:
    """Find the cheapest plan with the guarantee; the work behind `nestvec.tune`."""
    check_seed(seed)
    if not 1 <= guarantee.k <= len(index):
        raise InputError(
            f"k={guarantee.k} is not from 1 to the {len(index):,} rows of the index; tune for a k "
            "that it can find"
        )
    rows_checksum = index.snapshot.manifest.rows_checksum()
    grid = choose_candidates(index, guarantee, plans)
    ground_truth = queries.with_ground_truth(index, guarantee, progress)
    rng = np.random.default_rng(seed)
    ordering, testing = split_queries(len(ground_truth), rng)
    score_for_order = cache(partial(measure_plan, ground_truth[ordering], guarantee))
    sequence = order_plans(grid, score_for_order, progress)
    if plans is None and not _has_room(score_for_order(sequence[0]), guarantee):
        wider = choose_widest(index, guarantee)
        sequence = order_plans([*wider, *sequence], score_for_order, progress)
    score_plan = partial(measure_plan, ground_truth[testing], guarantee)
    plan_tests, scores = run_plan_tests(sequence, score_plan, guarantee, progress)
    passed = last_passing(plan_tests, guarantee)
    return TunedPlan(
        verdict=_verdict(passed, scores, guarantee),
        guarantee=guarantee,
        plan=passed,
        attained=guarantee.estimate(scores, rng),
        lower_bound=guarantee.lower_bound(scores),
        queries_needed=None if passed else _total_needed(guarantee.queries_needed(scores)),
        plan_tests=plan_tests,
        queries=len(ground_truth),
        n_self_matches=ground_truth.n_self_matches,
        seed=seed,
        rows_checksum=rows_checksum,
        query_keys=tuple(query_keys(ground_truth.queries).tolist()),
    )


def choose_candidates(
    index: Index, guarantee: Guarantee, plans: Sequence[str | Plan] | None
) -> list[Plan]:
    """List the candidate plans: the caller's, or the grid."""
    if plans is None:
        candidates = candidate_plans(index.snapshot, guarantee.k)
    else:
        candidates = _parse_plans(plans)
    if guarantee.measure == "shortlist_recall":
        return shortlist_plans(candidates, len(index))
    return candidates


def choose_widest(index: Index, guarantee: Guarantee) -> list[Plan]:
    """List the plans for a target that the grid hardly reaches."""
    plans = widest_plans(index.snapshot, guarantee.k)
    if guarantee.measure == "shortlist_recall":
        return shortlist_plans((plan for plan in plans if plan.stages), len(index))
    return plans


def _has_room(scores: PlanScores, guarantee: Guarantee) -> bool:
    """Tell whether a plan misses at most half of what it may, on the queries that order plans."""
    return bool(guarantee.scores(scores.attained).mean() >= (1 + guarantee.target) / 2)


def split_queries(
    count: int, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " ordering"], Int64[np.ndarray, " testing"]]:
    """Split the queries: some order the plans, the others test them."""
    if count < 2:
        raise InputError(f"{count} queries are too few to split; pass hundreds of held-out queries")
    shuffled = rng.permutation(count)
    return shuffled[: _ordering(count)], shuffled[_ordering(count) :]


def _ordering(count: int) -> int:
    return min(_MAX_ORDERING, max(1, count // _QUERIES_PER_ORDERING))


def _total_needed(testing: int | None) -> int | None:
    """Count the queries to pass so that `testing` of them test plans."""
    if testing is None:
        return None
    return smallest_true(lambda count: count - _ordering(count) >= testing)


def order_plans(plans: Sequence[Plan], score_plan: ScorePlan, progress: Progress) -> list[Plan]:
    """Order the plans worth testing, the safest and most expensive first."""
    risks, costs = np.empty(len(plans)), np.empty(len(plans))
    with progress("ordering plans", len(plans)) as advance:
        for place, plan in enumerate(plans):
            attained, costs[place] = score_plan(plan)
            risks[place] = 1 - attained.mean()
            advance(1)
    return [plans[place] for place in pareto_front(risks, costs)]


def run_plan_tests(
    sequence: Sequence[Plan], score_plan: ScorePlan, guarantee: Guarantee, progress: Progress
) -> tuple[tuple[PlanTest, ...], Float64[np.ndarray, " q"]]:
    """Test plan after plan until one fails; also return the last passing plan's scores [q].

    Where none passes, the scores are the first plan's. Many tests need no correction: a bad plan is
    chosen only if the first bad one in the sequence passes, which is one test (fixed-sequence
    testing).
    """
    plan_tests: list[PlanTest] = []
    best = np.empty(0)
    with progress("testing plans", len(sequence)) as advance:
        for plan in sequence:
            attained, bytes_per_query = score_plan(plan)
            scores = guarantee.scores(attained)
            p_value = guarantee.p_below(scores)
            plan_tests.append(PlanTest(plan, float(scores.mean()), p_value, bytes_per_query))
            if p_value <= guarantee.delta or len(plan_tests) == 1:
                best = scores
            if p_value > guarantee.delta:
                break
            advance(1)
    return tuple(plan_tests), best


def last_passing(plan_tests: Sequence[PlanTest], guarantee: Guarantee) -> Plan | None:
    """Return the last plan that passed, which is the cheapest with the guarantee."""
    passed = [test.plan for test in plan_tests if test.p_value <= guarantee.delta]
    return passed[-1] if passed else None


def _verdict(
    passed: Plan | None, scores: Float64[np.ndarray, " q"], guarantee: Guarantee
) -> TuneVerdict:
    if passed is not None:
        return "GUARANTEED"
    return "OUT OF REACH" if guarantee.p_above(scores) <= guarantee.delta else "INSUFFICIENT DATA"


def _parse_plans(plans: Sequence[str | Plan]) -> list[Plan]:
    if isinstance(plans, str | Plan):
        raise InputError(f"plans is the single plan '{plans}'; pass a list, [plan]")
    if not plans:
        raise InputError("plans is empty; pass plans to test, or None for the grid")
    parsed = (Plan.parse(plan) if isinstance(plan, str) else plan for plan in plans)
    return list(dict.fromkeys(parsed))
