"""What is kept where one side alone is coded, beside both: a table across variants."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from nestvec.auditing.baseline import Exact
from nestvec.auditing.evaluation import Measured
from nestvec.auditing.measures.paired import retention
from nestvec.auditing.seeding import generator
from nestvec.auditing.types import Side, Variant
from nestvec.statistics import Estimate, bootstrap_mean


def by_side(exact: Exact, measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """One entry per code of which one side alone was asked for.

    Each has the fields that its variants share; `measure`, what is kept; by side ("both",
    "documents", "queries") what of it, None where that was not asked for; and the paired
    `differences` of each side alone from both, in means of the measure itself.
    """
    groups: dict[Variant, dict[Side, Measured]] = {}
    for one in measured:
        shared = replace(one.variant, side="both", control=None)
        groups.setdefault(shared, {})[one.variant.side] = one
    return [
        _entry(exact, shared, sides) for shared, sides in groups.items() if sides.keys() - {"both"}
    ]


def _entry(exact: Exact, shared: Variant, sides: dict[Side, Measured]) -> dict[str, Any]:
    rng = generator(exact.task.seed, f"{shared.name}: sides")
    name = next(iter(sides.values())).kept.name
    kept = {
        side: retention(sides[side].kept.values, rng) if side in sides else None
        for side in get_args(Side)
    }
    fields = {name: getattr(shared, name) for name in ("dims", "bits", "rotation", "rescore")}
    return {**fields, "label": shared.label, "measure": name, **kept} | {
        "differences": _differences(sides, rng)
    }


def _differences(sides: dict[Side, Measured], rng: np.random.Generator) -> dict[str, Estimate]:
    if "both" not in sides:
        return {}
    both = sides["both"].kept.after
    return {
        side: bootstrap_mean(one.kept.after - both, rng)
        for side, one in sides.items()
        if side != "both"
    }
