"""Asymmetric compression: retention where one side alone is coded, beside both."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from nestvec.auditing.baseline import Baseline
from nestvec.auditing.evaluation import VariantResult
from nestvec.auditing.measures.paired import retention
from nestvec.auditing.seeding import generator
from nestvec.auditing.types import Side, Variant
from nestvec.statistics import Estimate, bootstrap_mean

_COMMON_FIELDS = ("dims", "bits", "rotation", "random_dims", "rerank")


def by_side(baseline: Baseline, results: Sequence[VariantResult]) -> list[dict[str, Any]]:
    """Make an entry for each code that was audited on one side alone.

    An entry has the fields that its variants share; `metric`, the name of the primary metric; by
    side ("both", "documents", "queries") its retention, None where that was not audited; and the
    paired `differences` of each side alone from both, in means of the metric itself.
    """
    codes: dict[Variant, dict[Side, VariantResult]] = {}
    for result in results:
        code = replace(result.variant, side="both", control=None)
        codes.setdefault(code, {})[result.variant.side] = result
    return [
        _entry(baseline, code, sides) for code, sides in codes.items() if sides.keys() - {"both"}
    ]


def _entry(baseline: Baseline, code: Variant, sides: dict[Side, VariantResult]) -> dict[str, Any]:
    rng = generator(baseline.inputs.seed, f"{code.seed_key}: sides")
    metric = next(iter(sides.values())).primary_metric.name
    retained = {
        side: retention(sides[side].primary_metric.paired, rng) if side in sides else None
        for side in get_args(Side)
    }
    fields = {field: getattr(code, field) for field in _COMMON_FIELDS}
    return {**fields, "label": code.label, "metric": metric, **retained} | {
        "differences": _differences(sides, rng)
    }


def _differences(sides: dict[Side, VariantResult], rng: np.random.Generator) -> dict[str, Estimate]:
    if "both" not in sides:
        return {}
    paired = sides["both"].primary_metric.variant_scores
    return {
        side: bootstrap_mean(result.primary_metric.variant_scores - paired, rng)
        for side, result in sides.items()
        if side != "both"
    }
