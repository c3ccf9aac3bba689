"""Which plans are tried, and in which order."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from nestvec.errors import PlanError
from nestvec.index.defaults import default_plan
from nestvec.index.segment import Segment
from nestvec.index.snapshot import Snapshot
from nestvec.plan import Plan, Stage
from nestvec.shapes import Float64

_PROBE_FACTORS = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0, 3 / 2, 2.0, 3.0, 4.0, 8.0)
_KEEP_FACTORS = (1 / 4, 1 / 2, 1.0, 2.0, 4.0)
_FEWER_WORDS = 2 / 3
"""Of what the first stage reads: less of each row, and as many rows to look at closer."""
_STEP = 1.5
"""Plans of equal risk differ by at least this factor in cost."""


def plan_grid(snapshot: Snapshot, k: int) -> list[Plan]:
    """The rule's plan, with its cells and the rows that its stages keep multiplied by factors.

    Each also with fewer dimensions in the first stage. A stage never keeps fewer than `k + 1`:
    a query that is a row of the index finds itself too. Where nothing is coded there is one plan,
    the full scan.
    """
    segment, rule = snapshot.largest, default_plan(snapshot.largest, k)
    if segment is None:
        return [rule]
    cells = len(segment.cells.counts)
    probes = [min(cells, max(1, round((rule.probe or cells) * f))) for f in _PROBE_FACTORS]
    funnels = [_scaled(rule.stages, factor, k + 1) for factor in _KEEP_FACTORS]
    funnels += [_narrowed(stages) for stages in funnels]
    plans = dict.fromkeys(Plan(probe, stages) for stages in funnels for probe in probes)
    return [plan for plan in plans if _is_readable(plan, segment)]


def _scaled(stages: tuple[Stage, ...], factor: float, least: int) -> tuple[Stage, ...]:
    return tuple(Stage(s.dims, s.bits, max(least, round(s.keep * factor))) for s in stages)


def _narrowed(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    first = stages[0]
    dims = max(1, round(first.dims * _FEWER_WORDS))
    return (Stage(dims, first.bits, first.keep), *stages[1:])


def _is_readable(plan: Plan, segment: Segment) -> bool:
    """Whether its stages have bits to read: without a rotation these may all lie further back."""
    try:
        segment.codec.funnel(plan)
    except PlanError:
        return False
    return True


def shortlists(plans: Iterable[Plan], rows: int) -> list[Plan]:
    """What the plans keep for a last stage elsewhere, of so many rows at most."""
    return list(dict.fromkeys(_shortlist(plan, rows) for plan in plans))


def _shortlist(plan: Plan, rows: int) -> Plan:
    if not plan.stages:
        raise PlanError(
            f"'{plan}' reads no codes, so it keeps no shortlist; give plans such as "
            "'probe=32; 256x1:100', or compact() an index that has no codes yet"
        )
    *before, last = plan.stages
    return Plan(plan.probe, (*before, replace(last, keep=min(last.keep, rows))), full=False)


def safest_first(
    risks: Float64[np.ndarray, " plans"], costs: Float64[np.ndarray, " plans"]
) -> list[int]:
    """The plans that no cheaper one equals in risk, from the dearest to the cheapest.

    So risk only rises along them: a test that starts with the first and stops where it fails loses
    little. Where plans are equal in risk, as those that miss nothing are, dearer ones stay before
    the cheapest, each `_STEP` times as dear as the next: few queries do not tell them apart.
    """
    kept: list[int] = []
    for plan in np.lexsort((risks, costs)).tolist():  # by cost, equal costs by risk
        last = kept[-1] if kept else plan
        a_step = risks[plan] == risks[last] and costs[plan] >= _STEP * costs[last]
        if not kept or risks[plan] < risks[last] or a_step:
            kept.append(plan)
    return kept[::-1]
