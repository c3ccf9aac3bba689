"""Plans for filtered segments, by the figures of decision 14."""

from dataclasses import replace
from math import ceil

from nestvec.plan import Plan

_FEW_ROWS = 2_000
_SCANNED_PER_SCORED = 12
"""Rows that are scanned by their codes in the time in which one vector is fetched and scored."""
_BOUNDED_PER_SCORED = 16
"""The same for rows that are bounded."""


def plan_for_filter(
    plan: Plan, allowed: int, rows: int, cells_with_rows: int, cells: int
) -> Plan | None:
    """Widen `plan` to read as many allowed rows as it would read if all `rows` were allowed.

    This finds enough of them even where they are about another subject than the query. They lie in
    `cells_with_rows` of the `cells`, and no other cell is probed. None where it costs less to score
    all allowed rows in full, which is also exact.
    """
    if allowed <= _FEW_ROWS:
        return None
    probe = cells
    if plan.probe is not None:
        wider = ceil(plan.probe * rows * cells_with_rows / (allowed * cells))
        probe = max(1, min(cells_with_rows, max(plan.probe, wider)))
    scanned = rows * probe // cells
    if _SCANNED_PER_SCORED * allowed <= scanned:
        return None
    return plan if plan.probe is None else replace(plan, probe=probe)


def scan_is_cheaper(allowed: int, rows: int) -> bool:
    """Tell whether it costs less to score all allowed rows in full than to bound all `rows`."""
    return _BOUNDED_PER_SCORED * allowed <= rows
