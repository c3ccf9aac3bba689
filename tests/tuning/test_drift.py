"""A kept guarantee held against new queries."""

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
def promised(changing, queries):
    """An index with a plan tuned for .9 on half of the queries."""
    nv.tune(changing, queries[:600], recall=0.9, k=K, plans=[Plan(8), Plan(None)]).save(changing)
    return changing


def pretend(index, plan):
    """Keep a plan as if it had been certified for .9."""
    checksum = index.snapshot.manifest.rows_checksum()
    index.save_plan(K, plan, Guarantee(K, 0.9, 0.95).to_json(), checksum)


def test_a_generous_plan_holds_for_new_queries_of_the_same_kind(changing, queries):
    pretend(changing, Plan(None))
    drift = check_drift(changing, queries[600:], K)
    assert (drift.verdict, drift.attained.value, drift.current) == ("HOLDS", 1, True)
    assert drift.lower_bound >= 0.9


def test_a_plan_that_misses_is_broken(changing, queries):
    pretend(changing, Plan(1))
    drift = check_drift(changing, queries, K)
    assert drift.verdict == "BROKEN"
    assert drift.p_above <= 0.05 < drift.p_below


def test_the_tuned_plan_is_not_broken_by_queries_of_the_same_kind(promised, queries):
    assert check_drift(promised, queries[600:], K).verdict != "BROKEN"


def test_queries_sorted_by_how_hard_they_are_do_not_mislead(changing, queries):
    found = changing.search(queries, K, plan=Plan(1)).rows
    recalls = recall_at_k(found, changing.search(queries, K, exact=True).rows, K)
    easy_first = queries[np.argsort(-recalls, kind="stable")]
    pretend(changing, Plan(1))
    assert betting_p(np.sort(1 - recalls), 0.1) <= 0.05  # as bets in that order would have it
    assert check_drift(changing, easy_first, K).verdict == "BROKEN"


def test_few_queries_neither_show_nor_refute(changing, queries):
    pretend(changing, Plan(None))
    drift = check_drift(changing, queries[:10], K)
    assert (drift.verdict, drift.queries_needed) == ("INSUFFICIENT DATA", 32)
    assert "some 32" in str(drift)


def test_a_stale_plan_is_checked_and_called_stale(changing, queries):
    pretend(changing, Plan(None))
    changing.delete([0])
    drift = check_drift(changing, queries, K)
    assert not drift.current
    assert "STALE" in str(drift)


def test_queries_from_the_index_are_labelled(changing, material):
    pretend(changing, Plan(None))
    drift = check_drift(changing, material[0][:60], K)
    assert drift.n_self_matches == 60
    assert "OPTIMISTIC" in str(drift)


def test_without_a_kept_plan_there_is_nothing_to_check(changing, queries):
    with pytest.raises(InputError, match="no tuned plan for k=5"):
        check_drift(changing, queries, K)
    pretend(changing, Plan(None))
    with pytest.raises(InputError, match="some for: 5"):
        check_drift(changing, queries, 7)


def test_all_of_it_is_json(promised, queries):
    told = check_drift(promised, queries[600:], K).to_json()
    assert told["target"] == 0.9
    assert np.isfinite([told["attained"]["low"], told["p_below"], told["p_above"]]).all()
