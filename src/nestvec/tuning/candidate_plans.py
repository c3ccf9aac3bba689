"""The grid of candidate plans, and the order in which they are tested."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from nestvec.errors import PlanError
from nestvec.index.plans.default_plan import default_plan
from nestvec.index.snapshot import Snapshot
from nestvec.index.storage.coded_segment import Segment
from nestvec.plan import Plan, Stage
from nestvec.shapes import Float64

_PROBE_FACTORS = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0, 3 / 2, 2.0, 3.0, 4.0, 8.0)
_KEEP_FACTORS = (1 / 4, 1 / 2, 1.0, 2.0, 4.0)
_WIDE_KEEPS = (10, 40, 160, 640)
"""Shortlists of the widest plans, in multiples of k."""
_FEWER_WORDS = 2 / 3
"""Share of dims that a narrowed first stage reads: less of each row, with as many candidates."""
_STEP = 1.5
"""Plans of equal risk differ by at least this factor in cost."""


def candidate_plans(snapshot: Snapshot, k: int) -> list[Plan]:
    """List plans around the default: its probe and the rows its stages keep, times factors.

    Each funnel also comes with fewer dims in the first stage. A stage never keeps fewer than
    `k + 1` rows, since a query that is a row of the index finds itself too. Where nothing is coded
    there is one plan, the full scan.
    """
    segment, default = snapshot.largest, default_plan(snapshot.largest, k)
    if segment is None:
        return [default]
    cells = len(segment.cells.counts)
    probes = [min(cells, max(1, round((default.probe or cells) * f))) for f in _PROBE_FACTORS]
    funnels = [_scaled(default.stages, factor, k + 1) for factor in _KEEP_FACTORS]
    funnels += [_narrowed(stages) for stages in funnels]
    plans = dict.fromkeys(Plan(probe, stages) for stages in funnels for probe in probes)
    return [plan for plan in plans if _is_readable(plan, segment)]


def widest_plans(snapshot: Snapshot, k: int) -> list[Plan]:
    """List plans that read all cells: on all bits, with longer and longer shortlists, then whole.

    The last one is the full scan, which reaches any target. Where nothing is coded there is none,
    because the grid is that plan.
    """
    segment = snapshot.largest
    if segment is None:
        return []
    keeps = dict.fromkeys(min(snapshot.count, factor * k) for factor in _WIDE_KEEPS)
    rectangle = segment.codec.full_rectangle
    return [*(Plan(None, (Stage(*rectangle, keep),)) for keep in keeps), Plan(None)]


def _scaled(stages: tuple[Stage, ...], factor: float, min_keep: int) -> tuple[Stage, ...]:
    return tuple(Stage(s.dims, s.bits, max(min_keep, round(s.keep * factor))) for s in stages)


def _narrowed(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    head = stages[0]
    dims = max(1, round(head.dims * _FEWER_WORDS))
    return (Stage(dims, head.bits, head.keep), *stages[1:])


def _is_readable(plan: Plan, segment: Segment) -> bool:
    """Tell whether its stages have bits to read: unrotated, all bits may lie further back."""
    try:
        segment.codec.funnel(plan)
    except PlanError:
        return False
    return True


def shortlist_plans(plans: Iterable[Plan], rows: int) -> list[Plan]:
    """Shorten the plans to their shortlists, of at most `rows` rows, for a rerank elsewhere."""
    return list(dict.fromkeys(_shortlist(plan, rows) for plan in plans))


def _shortlist(plan: Plan, rows: int) -> Plan:
    if not plan.stages:
        raise PlanError(
            f"'{plan}' reads no codes, so it leaves no shortlist; pass plans such as "
            "'probe=32; 256x1:100', or compact() an index that has no codes yet"
        )
    *head, last = plan.stages
    return Plan(plan.probe, (*head, replace(last, keep=min(last.keep, rows))), full=False)


def pareto_front(
    risks: Float64[np.ndarray, " plans"], costs: Float64[np.ndarray, " plans"]
) -> list[int]:
    """Select the plans that no cheaper one equals in risk, from the most expensive to the cheapest.

    Risk only rises along them, so a test that stops at the first failure loses little. Of plans
    with equal risk, such as those that miss nothing, expensive ones stay before the cheapest, each
    `_STEP` times as expensive as the next: a few queries cannot tell them apart.
    """
    front: list[int] = []
    for plan in np.lexsort((risks, costs)).tolist():  # by cost, equal costs by risk
        last = front[-1] if front else plan
        a_step = risks[plan] == risks[last] and costs[plan] >= _STEP * costs[last]
        if not front or risks[plan] < risks[last] or a_step:
            front.append(plan)
    return front[::-1]
