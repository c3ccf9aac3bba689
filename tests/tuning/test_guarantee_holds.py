"""Over many calibrations the guarantee fails no more often than it says; the naive way does."""

from pathlib import Path

import numpy as np
import pytest

from nestvec import Plan
from nestvec.tuning.guarantee import Guarantee
from nestvec.tuning.plan_scores import PlanScores

ROUNDS = 150


@pytest.fixture
def guarantee(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    from benchmarks import guarantee

    return guarantee


@pytest.fixture
def measured(rng):
    """Thirty plans on 4,000 queries, some of them hard for all: recall by fifths, .78 to .995."""
    hardness = rng.random(4000) ** 6
    plans = {}
    for power in range(30):
        spoilt = rng.random((4000, 5)) < (hardness * np.exp(-0.14 * power))[:, None]
        plans[Plan(power + 1)] = PlanScores(1 - spoilt.mean(axis=1), float(power + 1))
    return plans


@pytest.mark.parametrize(("target", "loss"), [(0.95, "recall"), (0.9, "all")])
def test_the_promise_fails_no_more_often_than_allowed(guarantee, measured, rng, target, loss):
    case = guarantee.Case(Guarantee(5, target, 0.9, loss), 300)
    told = guarantee.case_result(case, measured, 30.0, ROUNDS, rng)
    tuned = told["tuned"]
    assert tuned["found"] == ROUNDS
    assert tuned["failed"]["low"] <= told["allowed"]
    assert told["naive"]["failed"]["value"] > 2 * told["allowed"]
    assert target <= tuned["median_true"] < target + 0.05
    if loss == "recall":
        assert tuned["median_bytes"] < told["hoeffding_bentkus"]["median_bytes"]
