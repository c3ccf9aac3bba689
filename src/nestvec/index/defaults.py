"""The plan for those who give none, from the figures in docs/decisions/0006."""

from nestvec.codes import Codec
from nestvec.plan import Plan, Stage

_PROBE = 400


def default_plan(codec: Codec, cells: int, k: int) -> Plan:
    """Scan the head of 400 cells, refine on all bits, rerank on full vectors."""
    scan = Stage(*codec.head_rectangle, 100 + 20 * k)
    refine = Stage(codec.dim, int(max(codec.bits)), 10 + 5 * k // 2)
    return Plan(min(_PROBE, cells), (scan, refine))
