"""Plans for filtered segments, by the figures of decision 14."""

from dataclasses import replace
from math import ceil

from nestvec.plan import Plan

_FEW_ROWS = 2_000
_SCANNED_PER_SCORED = 12
"""Rows that are scanned by their codes in the time that fetching and scoring one vector takes."""
_BOUNDED_PER_SCORED = 16
"""The same for rows that are bounded."""


def plan_for_filter(
    plan: Plan, allowed: int, rows: int, cells_with_rows: int, cells: int
) -> Plan | None:
    """`plan` so that it meets as many allowed rows as it would if all `rows` were allowed.

    That is enough even where the allowed rows have a subject of their own, far from the query's.
    They lie in `held` of the cells, and no other is probed. None where it costs less to score all
    allowed rows in full, which is exact besides.
    """
    if allowed <= _FEW_ROWS:
        return None
    probe = cells
    if plan.probe is not None:
        as_many = ceil(plan.probe * rows * cells_with_rows / (allowed * cells))
        probe = max(1, min(cells_with_rows, max(plan.probe, as_many)))
    scanned = rows * probe // cells
    if _SCANNED_PER_SCORED * allowed <= scanned:
        return None
    return plan if plan.probe is None else replace(plan, probe=probe)


def scan_is_cheaper(allowed: int, rows: int) -> bool:
    """Tell whether it costs less to score all allowed rows in full than to bound all `rows`."""
    return _BOUNDED_PER_SCORED * allowed <= rows
