"""A stored guarantee checked on new queries."""

import numpy as np
import pytest

import nestvec as nv
from nestvec import Plan
from nestvec.errors import InputError
from nestvec.metrics import recall_at_k
from nestvec.statistics import betting_p
from nestvec.tuning import check_drift
from nestvec.tuning.guarantee import Guarantee

K = 5


@pytest.fixture
def tuned_index(changing, queries):
    """An index with a plan tuned for .9 on half of the queries."""
    nv.tune(changing, queries[:600], recall=0.9, k=K, plans=[Plan(8), Plan(None)]).save(changing)
    return changing


def save(index, plan):
    """Save a plan as if it had the guarantee of .9."""
    checksum = index.snapshot.manifest.rows_checksum()
    index.save_plan(K, plan, Guarantee(K, 0.9, 0.95).to_json(), checksum)


def test_a_generous_plan_holds_for_new_queries_of_the_same_kind(changing, queries):
    save(changing, Plan(None))
    drift = check_drift(changing, queries[600:], K)
    assert (drift.verdict, drift.attained.value, drift.current) == ("HOLDS", 1, True)
    assert drift.lower_bound >= 0.9


def test_a_plan_that_misses_is_broken(changing, queries):
    save(changing, Plan(1))
    drift = check_drift(changing, queries, K)
    assert drift.verdict == "BROKEN"
    assert drift.p_above <= 0.05 < drift.p_below


def test_the_tuned_plan_is_not_broken_by_queries_of_the_same_kind(tuned_index, queries):
    assert check_drift(tuned_index, queries[600:], K).verdict != "BROKEN"


def test_queries_sorted_by_how_hard_they_are_do_not_mislead(changing, queries):
    approximate = changing.search(queries, K, plan=Plan(1)).rows
    recalls = recall_at_k(approximate, changing.search(queries, K, exact=True).rows, K)
    easy_first = queries[np.argsort(-recalls, kind="stable")]
    save(changing, Plan(1))
    assert betting_p(np.sort(1 - recalls), 0.1) <= 0.05  # what a test in that order would conclude
    assert check_drift(changing, easy_first, K).verdict == "BROKEN"


def test_few_queries_show_neither_that_it_holds_nor_that_it_is_broken(changing, queries):
    save(changing, Plan(None))
    drift = check_drift(changing, queries[:10], K)
    assert (drift.verdict, drift.queries_needed) == ("INSUFFICIENT DATA", 32)
    assert "about 32 such queries" in str(drift)


def test_a_stale_plan_is_checked_and_called_stale(changing, queries):
    save(changing, Plan(None))
    changing.delete([0])
    drift = check_drift(changing, queries, K)
    assert not drift.current
    assert "STALE" in str(drift)


def test_queries_from_the_index_are_labelled(changing, dataset):
    save(changing, Plan(None))
    drift = check_drift(changing, dataset[0][:60], K)
    assert drift.n_self_matches == 60
    assert "OPTIMISTIC" in str(drift)


@pytest.mark.door(
    "a check of drift on the queries that tuned the plan",
    "they are left out; refused if no others are there",
)
def test_queries_that_tuned_the_plan_do_not_check_it(tuned_index, queries):
    with pytest.raises(InputError, match="tuned on these 600 queries"):
        check_drift(tuned_index, queries[:600], K)
    drift = check_drift(tuned_index, queries[500:], K)
    assert (drift.n_tuning_queries, drift.attained.n) == (100, 600)
    assert drift.attained == check_drift(tuned_index, queries[600:], K).attained
    assert "100 further queries were left out" in str(drift)


def test_p_values_are_called_what_they_are(tuned_index, queries):
    assert "p-value of 'it misses the target'" in str(check_drift(tuned_index, queries[600:], K))


def test_evidence_that_names_no_queries_excludes_none(changing, queries):
    save(changing, Plan(None))
    assert check_drift(changing, queries, K).n_tuning_queries == 0


def test_without_a_stored_plan_there_is_nothing_to_check(changing, queries):
    with pytest.raises(InputError, match="stores no tuned plan for k=5"):
        check_drift(changing, queries, K)
    save(changing, Plan(None))
    with pytest.raises(InputError, match="it stores plans for k: 5"):
        check_drift(changing, queries, 7)


def test_the_report_is_json(tuned_index, queries):
    values = check_drift(tuned_index, queries[600:], K).to_json()
    assert values["target"] == 0.9
    assert np.isfinite([values["attained"]["low"], values["p_below"], values["p_above"]]).all()
