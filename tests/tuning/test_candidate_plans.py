"""The grid of candidate plans, and the order in which they are tested."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestvec import Index, Plan
from nestvec.tuning.candidate_plans import candidate_plans, pareto_front

plans = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 30)), min_size=1, max_size=12)


def test_the_grid_has_the_default_plan_and_room_for_a_self_match(index):
    grid = candidate_plans(index.snapshot, 5)
    assert index.default_plan(5) in grid
    assert len(set(grid)) == len(grid) > 50
    for plan in grid:
        plan.check(index.dim, 6)


def test_every_plan_of_the_grid_can_be_run_without_a_rotation(dataset, tmp_path):
    vectors = np.ascontiguousarray(dataset[0][:600, ::-1])  # strongest dimensions last
    index = Index.build(vectors, tmp_path / "plain.nv", rotation="none")
    for plan in candidate_plans(index.snapshot, 5):
        index.search(vectors[:2], 5, plan=plan)


def test_where_nothing_is_coded_the_full_scan_is_the_only_plan(tmp_path):
    index = Index.build(np.eye(4, dtype=np.float32), tmp_path / "few.nv")
    index.delete(index.ids)
    index.compact()
    index.add(np.eye(4, dtype=np.float32))
    assert candidate_plans(index.snapshot, 2) == [Plan(None)]


def test_costs_fall_and_risks_rise_along_the_sequence():
    risks = np.array([0.2, 0.0, 0.1, 0.1, 0.3])
    costs = np.array([10.0, 40.0, 20.0, 25.0, 15.0])
    assert pareto_front(risks, costs) == [1, 2, 0]


def test_plans_of_equal_risk_come_in_steps_of_cost_before_the_cheapest():
    risks = np.array([0.0, 0.0, 0.0, 0.0, 0.1])
    costs = np.array([10.0, 12.0, 15.0, 100.0, 5.0])
    assert pareto_front(risks, costs) == [3, 2, 0, 4]


@given(plans)
def test_no_plan_outside_the_front_is_both_cheaper_and_safer(risks_and_costs):
    risks, costs = (np.array(column, float) for column in zip(*risks_and_costs, strict=True))
    front = pareto_front(risks, costs)
    assert (np.diff(costs[front]) <= 0).all()
    assert (np.diff(risks[front]) >= 0).all()
    for risk, cost in risks_and_costs:
        assert any(risks[plan] <= risk and costs[plan] <= cost for plan in front)


@pytest.mark.parametrize("k", [1, 100])
def test_any_k_has_a_grid(index, k):
    assert all(
        stage.keep > k for plan in candidate_plans(index.snapshot, k) for stage in plan.stages
    )
