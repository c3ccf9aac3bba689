"""The plan of searches without one, from the figures in docs/explanation/decisions/0022."""

from nestvec.index.storage.coded_segment import Segment
from nestvec.plan import Plan, Stage

_PROBE = 2.7
"""Cells visited per ∛rows: .985 to .99 of the true top 10 at 50,000 to 500,000 rows."""
_FARTHER = 0.2
"""How the number of cells grows with k: as this power of it, being 1 at k = 10."""


def default_plan(segment: Segment | None, k: int) -> Plan:
    """Scan the head of the best cells, refine on all bits, rerank on full vectors.

    A full scan where nothing is coded.
    """
    if segment is None:
        return Plan(None)
    codec, cells = segment.codec, len(segment.cells.counts)
    farther = max(1.0, (k / 10) ** _FARTHER)
    probe = min(cells, max(1, round(_PROBE * farther * len(segment.vectors) ** (1 / 3))))
    scan = Stage(*codec.head_rectangle, min(100 + 10 * k, 170 + 3 * k))
    refine = Stage(*codec.full_rectangle, min(10 + 2 * k, 16 + round(1.4 * k)))
    return Plan(probe, (scan, refine))
