"""Over many calibrations the guarantee fails as rarely as it says; the naive choice does not."""

from pathlib import Path

import numpy as np
import pytest

from nestvec import Plan
from nestvec.tuning.guarantee import Guarantee
from nestvec.tuning.plan_scores import PlanScores

ROUNDS = 150


@pytest.fixture
def simulation(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    from benchmarks import guarantee

    return guarantee


@pytest.fixture
def plan_scores(rng):
    """Thirty plans on 4,000 queries, some of them hard for all: recall by fifths, .78 to .995."""
    hardness = rng.random(4000) ** 6
    plans = {}
    for power in range(30):
        spoilt = rng.random((4000, 5)) < (hardness * np.exp(-0.14 * power))[:, None]
        plans[Plan(power + 1)] = PlanScores(1 - spoilt.mean(axis=1), float(power + 1))
    return plans


@pytest.mark.parametrize(("target", "measure"), [(0.95, "recall"), (0.9, "perfect_recall")])
def test_the_guarantee_fails_no_more_often_than_allowed(
    simulation, plan_scores, rng, target, measure
):
    case = simulation.Case(Guarantee(5, target, 0.9, measure), 300)
    result = simulation.case_result(case, plan_scores, 30.0, ROUNDS, rng)
    tuned = result["tuned"]
    assert tuned["found"] == ROUNDS
    assert tuned["failed"]["low"] <= result["allowed"]
    assert result["naive"]["failed"]["value"] > 2 * result["allowed"]
    assert target <= tuned["median_true"] < target + 0.05
    if measure == "recall":
        assert tuned["median_bytes"] < result["hoeffding_bentkus"]["median_bytes"]
