"""The plan for those who give none, from the figures in docs/decisions/0006."""

from nestvec.index.segment import Segment
from nestvec.plan import Plan, Stage

_PROBE = 150


def default_plan(segment: Segment, k: int) -> Plan:
    """Scan the head of the best cells, refine on all bits, rerank on full vectors."""
    codec = segment.codec
    scan = Stage(*codec.head_rectangle, 100 + 10 * k)
    refine = Stage(codec.dim, int(max(codec.bits)), 10 + 2 * k)
    return Plan(min(_PROBE, len(segment.cells.counts)), (scan, refine))
