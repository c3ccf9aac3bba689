"""Tuning: which plan has the guarantee, on which queries, and the answer where no plan has it."""

import json

import numpy as np
import pytest

import nestvec as nv
from nestvec import Index, Plan
from nestvec.errors import InputError, PlanError
from nestvec.metrics import recall_at_k
from nestvec.progress import silent
from nestvec.tuning.guarantee import Guarantee
from nestvec.tuning.plan_scores import PlanScores
from nestvec.tuning.tuner import (
    choose_candidates,
    last_passing,
    order_plans,
    run_plan_tests,
    split_queries,
)

K = 5
FULL = Plan(None)
LADDER = [FULL, *(Plan(probe) for probe in (1, 2, 3, 5, 8, 13, 21))]


def plans(count):
    return [Plan(probe) for probe in range(1, count + 1)]


def scorer(recalls):
    """Score plans: Plan(n) attains `recalls[n - 1]` on every query and costs n bytes."""
    return lambda plan: PlanScores(np.full(100, recalls[plan.probe - 1]), float(plan.probe))


@pytest.fixture(scope="module")
def tuned(index, queries):
    return nv.tune(index, queries[:800], recall=0.9, k=K)


def test_the_plan_is_cheaper_than_the_safest_and_reaches_the_target(tuned, index, queries):
    assert tuned.verdict == "GUARANTEED"
    assert tuned.plan == [test.plan for test in tuned.plan_tests if test.p_value <= 0.05][-1]
    safest, best = tuned.plan_tests[0], next(t for t in tuned.plan_tests if t.plan == tuned.plan)
    assert best.bytes_per_query < safest.bytes_per_query
    assert tuned.lower_bound >= 0.9
    assert tuned.attained.value == best.attained
    hits = index.search(queries, K, plan=tuned.plan).rows
    exact = index.search(queries, K, exact=True).rows
    assert recall_at_k(hits, exact, K).mean() >= 0.9


def test_all_but_the_last_test_passed(tuned):
    assert all(test.p_value <= 0.05 for test in tuned.plan_tests[:-1])


def test_equal_seeds_give_equal_results(index, queries):
    def once(seed):
        return nv.tune(index, queries[:400], recall=0.9, k=K, plans=LADDER, seed=seed)

    assert once(1) == once(1) != once(2)


def test_a_higher_target_costs_more(index, queries):
    def cost(recall):
        tuned = nv.tune(index, queries, recall=recall, k=K, plans=LADDER)
        return next(t.bytes_per_query for t in tuned.plan_tests if t.plan == tuned.plan)

    assert cost(0.98) > cost(0.9)


def test_perfect_recall_can_be_guaranteed(index, queries):
    tuned = nv.tune(index, queries, perfect_recall=0.9, k=K, plans=LADDER)
    assert tuned.verdict == "GUARANTEED"
    assert (tuned.attained.value * tuned.n) % 1 == pytest.approx(0, abs=1e-9)
    assert "queries with recall@5 of 1 >= 0.9" in str(tuned)


def test_with_too_few_queries_the_number_needed_is_stated(index, queries):
    few = nv.tune(index, queries[:100], recall=0.99, k=K, plans=[FULL])
    assert (few.verdict, few.plan) == ("INSUFFICIENT DATA", None)
    # 337 that test, and a quarter of all that order.
    assert few.queries_needed == 449
    assert "about 449 queries" in str(few)
    enough = nv.tune(index, queries[:449], recall=0.99, k=K, plans=[FULL])
    assert enough.verdict == "GUARANTEED"


def test_a_target_that_no_plan_reaches_leads_to_exact_search(index, queries):
    poor = nv.tune(index, queries, recall=0.99, k=K, plans=["probe=1; full"])
    assert (poor.verdict, poor.plan, poor.queries_needed) == ("OUT OF REACH", None, None)
    assert "the widest is 'probe=1; full'" in str(poor)
    assert "exact=True" in str(poor)
    with pytest.raises(InputError, match="OUT OF REACH"):
        poor.save(index)


@pytest.fixture(scope="module")
def isotropic(tmp_path_factory):
    """Vectors without any structure, on which small codes and few cells find little."""
    rows = np.random.default_rng(5).standard_normal((4600, 64)).astype(np.float32)
    path = tmp_path_factory.mktemp("isotropic") / "corpus.nv"
    return Index.build(rows[:4000], path), rows[4000:]


@pytest.mark.door(
    "a target that the grid of plans does not reach", "wider plans are tested, up to the full scan"
)
@pytest.mark.parametrize("measure", ["perfect_recall", "shortlist_recall"])
def test_a_high_target_is_reached_on_vectors_without_structure(isotropic, measure):
    index, queries = isotropic
    tuned = nv.tune(index, queries, k=10, **{measure: 0.985})
    assert tuned.verdict == "GUARANTEED"
    guarantee = Guarantee(10, 0.985, 0.95, measure)
    grid = choose_candidates(index, guarantee, None)
    assert nv.tune(index, queries, k=10, plans=grid, **{measure: 0.985}).plan is None


def test_wide_plans_are_not_tried_where_the_grid_has_room(index, queries):
    tuned = nv.tune(index, queries[:800], recall=0.9, k=K)
    assert Plan(None) not in [test.plan for test in tuned.plan_tests]


def test_a_small_sample_below_the_target_shows_nothing(index, queries):
    little = nv.tune(index, queries[:4], recall=0.9, k=K, plans=["probe=1; full"])
    assert (little.verdict, little.queries_needed) == ("INSUFFICIENT DATA", None)
    assert "pass more" in str(little)


def test_queries_from_the_index_are_labelled(index, dataset):
    easy = nv.tune(index, dataset[0][:400], recall=0.9, k=K, plans=LADDER)
    assert easy.n_self_matches == 400
    assert "OPTIMISTIC: 400 of 400" in str(easy)


def test_the_assumptions_of_the_guarantee_are_printed(tuned):
    for words in ("drawn at random", "session", "coded anew", "without a filter"):
        assert words in str(tuned)


def test_the_evidence_is_json_and_names_every_plan_tested(tuned):
    values = tuned.to_json()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert [test["plan"] for test in values["evidence"]] == [str(t.plan) for t in tuned.plan_tests]
    assert values["attained"].keys() == {"value", "low", "high", "n"}


@pytest.mark.parametrize(("count", "ordering"), [(2, 1), (8, 2), (400, 100), (5000, 500)])
def test_no_query_both_orders_and_tests(count, ordering, rng):
    to_order, to_test = split_queries(count, rng)
    assert len(to_order) == ordering
    assert sorted([*to_order, *to_test]) == list(range(count))


def test_a_single_query_is_an_error(index, queries):
    with pytest.raises(InputError, match="hundreds"):
        nv.tune(index, queries[:1], k=K)


def test_no_plans_and_plans_that_do_not_fit_are_errors(index, queries):
    with pytest.raises(InputError, match="plans is empty"):
        nv.tune(index, queries[:10], k=K, plans=[])
    with pytest.raises(PlanError):
        nv.tune(index, queries[:10], k=K, plans=["probe=1; 4000x1:50 > full"])


def test_the_sequence_stops_at_the_first_plan_that_fails():
    # The third of five misses the target; the cheaper fourth would reach it and is not tested.
    recalls = [1.0, 1.0, 0.5, 1.0, 1.0]
    sequence = plans(5)[::-1]
    guarantee = Guarantee(K, 0.9, 0.95)
    plan_tests, scores = run_plan_tests(sequence, scorer(recalls), guarantee, silent)
    assert [test.plan.probe for test in plan_tests] == [5, 4, 3]
    assert last_passing(plan_tests, guarantee) == Plan(4)
    assert scores.mean() == 1


def test_where_the_first_plan_fails_the_scores_are_its_own():
    plan_tests, scores = run_plan_tests(plans(1), scorer([0.25]), Guarantee(K, 0.9, 0.95), silent)
    assert last_passing(plan_tests, Guarantee(K, 0.9, 0.95)) is None
    assert scores.mean() == 0.25


def test_plans_are_ordered_from_the_most_expensive_to_the_cheapest():
    ordered = order_plans(plans(4), scorer([0.5, 0.9, 0.8, 1.0]), silent)
    assert [plan.probe for plan in ordered] == [4, 2, 1]


def test_progress_is_reported(index, queries):
    totals = {}

    def progress(description, total):
        totals[description] = total
        return silent(description, total)

    nv.tune(index, queries[:50], k=K, plans=[FULL], progress=progress)
    assert totals == {"ground truth": 50, "ordering plans": 1, "testing plans": 1}
