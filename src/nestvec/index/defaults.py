"""The plan for those who give none, from the figures in docs/decisions/0022."""

from nestvec.index.segment import Segment
from nestvec.plan import Plan, Stage

_PROBE = 2.7
"""Cells visited per ∛rows: .985 to .99 of the true top 10 at 50,000 to 500,000 rows."""


def default_plan(segment: Segment | None, k: int) -> Plan:
    """Scan the head of the best cells, refine on all bits, rerank on full vectors.

    A full scan where nothing is coded.
    """
    if segment is None:
        return Plan(None)
    codec, cells = segment.codec, len(segment.cells.counts)
    probe = min(cells, max(1, round(_PROBE * len(segment.vectors) ** (1 / 3))))
    scan = Stage(*codec.head_rectangle, 100 + 10 * k)
    refine = Stage(*codec.whole_rectangle, 10 + 2 * k)
    return Plan(probe, (scan, refine))
