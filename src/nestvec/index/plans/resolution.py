"""Resolution of the options of a search to the plan that runs."""

from dataclasses import replace

import numpy as np

from nestvec.errors import DimsError, InputError, PlanError
from nestvec.index.plans.default_plan import default_plan
from nestvec.index.snapshot import Snapshot
from nestvec.plan import Plan

MAX_PADDING = 10_000
"""Hits that may be had of a smaller index, as padding: more are a mistake."""


def resolve_plan(
    snapshot: Snapshot,
    k: int,
    plan: str | Plan | None,
    dims: int | None,
    where: str | None,
    exact: bool,
    certify: bool,
) -> Plan:
    """Return the plan of a search for at most as many hits as there are rows.

    `PlanError` if it cannot return them, or cannot prove what is to be proven.
    """
    check_k(k, snapshot.count)
    depth = max(1, min(int(k), snapshot.count))
    if dims is None:
        resolved = snapshot.chosen_plan(plan, depth, where is None and not exact)
    elif plan is None:
        resolved = _prefix_plan(snapshot, depth, dims)
    else:
        raise InputError(
            f"dims={dims} and plan='{plan}' both say what is read; pass one of the two"
        )
    if (exact or certify) and not resolved.full:
        raise PlanError(
            f"plan '{resolved}' ends in estimates, which prove nothing; end it with '> full'"
        )
    return resolved


def check_k(k: int, rows: int) -> None:
    """Raise `InputError` unless `k` is a whole number from 1 to the number of rows, or 10,000."""
    limit = max(rows, MAX_PADDING)
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= limit:
        raise InputError(f"k={k!r} is not a whole number from 1 to {limit:,}")


def _prefix_plan(snapshot: Snapshot, k: int, dims: int) -> Plan:
    """Limit the stages of the default plan to the first `dims` dimensions."""
    if isinstance(dims, bool) or not isinstance(dims, int | np.integer):
        raise InputError(f"dims={dims!r} is not a whole number; pass one such as 64")
    if not 1 <= dims <= snapshot.dim:
        raise DimsError(
            f"dims={dims} is not from 1 to {snapshot.dim}, the width of the stored vectors"
        )
    plan = default_plan(snapshot.largest, k)
    stages = (replace(stage, dims=min(stage.dims, int(dims))) for stage in plan.stages)
    limited = replace(plan, stages=tuple(stages))
    return snapshot.chosen_plan(limited, k, False)
