"""A filter widens a plan so that it meets as many allowed rows; few rows need none."""

import pytest

from nestvec import Plan
from nestvec.index.search.filtered_plan import plan_for_filter, scan_is_cheaper

PLAN = Plan.parse("probe=400; 256x1:300 > full")


@pytest.mark.parametrize(("allowed", "probe"), [(200_000, 400), (100_000, 800), (60_000, 1334)])
def test_as_many_more_cells_are_probed_as_fewer_rows_are_allowed(allowed, probe):
    wide = plan_for_filter(PLAN, allowed, 200_000, 4_000, 4_000)
    assert wide == Plan(probe, PLAN.stages, PLAN.full)


def test_no_more_cells_are_probed_than_there_are():
    assert plan_for_filter(PLAN, 20_000, 200_000, 3_000, 3_000).probe == 3_000
    assert plan_for_filter(PLAN, 100_000, 200_000, 500, 4_000).probe == 400
    assert plan_for_filter(PLAN, 20_000, 200_000, 300, 4_000).probe == 300


def test_where_fewer_cells_hold_allowed_rows_fewer_are_probed():
    assert plan_for_filter(PLAN, 100_000, 200_000, 3_000, 4_000).probe == 600


@pytest.mark.parametrize("allowed", [0, 1, 2_000, 5_000])
def test_few_allowed_rows_are_all_scored(allowed):
    assert plan_for_filter(PLAN, allowed, 200_000, 4_000, 4_000) is None


def test_few_of_the_rows_are_scored_and_not_bounded():
    assert (
        scan_is_cheaper(0, 200_000)
        and scan_is_cheaper(10_000, 200_000)
        and not scan_is_cheaper(20_000, 200_000)
    )


def test_a_plan_for_all_cells_stays_as_it_is():
    plan = Plan.parse("probe=all; 256x1:300 > full")
    assert plan_for_filter(plan, 100_000, 200_000, 4_000, 4_000) == plan
