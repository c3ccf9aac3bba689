"""A tuned plan in its index: used while it is true, stale when rows change."""

import numpy as np
import pytest

import nestvec as nv
from nestvec import Index, Plan
from nestvec.errors import StorageError
from nestvec.index.plans.default_plan import default_plan

K = 5
PLAN = Plan(3)


def rule(index, k=K):
    return default_plan(index.snapshot.largest, k)


@pytest.fixture
def attained(changing):
    """An index that keeps PLAN for K."""
    checksum = changing.snapshot.manifest.rows_checksum()
    changing.save_plan(K, PLAN, {"why": "a test"}, checksum)
    return changing


def test_what_tune_finds_is_saved_and_used(changing, queries):
    tuned = nv.tune(changing, queries[:300], recall=0.9, k=K, plans=[PLAN, Plan(None)])
    tuned.save(changing)
    opened = Index.open(changing.path, verify=True)
    assert opened.default_plan(K) == tuned.plan != rule(opened)
    assert opened.tuned[K].evidence == tuned.to_json()
    assert opened.generation == 2


def test_it_is_used_for_its_own_k_alone(kept, queries):
    assert kept.default_plan(K) == PLAN
    assert kept.default_plan(K + 1) == rule(kept, K + 1)
    found = kept.search(queries[:20], K)
    assert (found.rows == kept.search(queries[:20], K, plan=PLAN).rows).all()


def test_filters_and_exact_search_go_by_the_rule(kept, queries):
    def read(**options):
        return kept.search(queries[:5], K, **options).stats.size_bytes

    assert read(where="id >= 0") == read(where="id >= 0", plan=rule(kept))
    assert read(exact=True) == read(exact=True, plan=rule(kept))


@pytest.mark.parametrize("change", ["add", "delete", "update"])
def test_when_rows_change_it_is_stale_and_the_rule_takes_over(kept, queries, change):
    act = {
        "add": lambda: kept.add(queries[:1]),
        "delete": lambda: kept.delete([0]),
        "update": lambda: kept.update(queries[:1], ids=[0]),
    }
    act[change]()
    assert not kept.tuned[K].current
    assert kept.default_plan(K) == rule(kept)
    assert Index.open(kept.path).tuned[K].plan == PLAN


def test_coding_the_rows_anew_makes_it_stale(kept):
    kept.delete([0])
    kept.compact()
    assert not kept.tuned[K].current


def test_one_plan_is_kept_for_each_k(kept):
    checksum = kept.snapshot.manifest.rows_checksum()
    kept.save_plan(7, Plan(4), {}, checksum)
    kept.save_plan(K, Plan(2), {}, checksum)
    assert {k: tuned.plan for k, tuned in kept.tuned.items()} == {K: Plan(2), 7: Plan(4)}
    assert all(tuned.current for tuned in kept.tuned.values())


def test_other_readers_see_it_when_they_refresh(kept):
    reader = Index.open(kept.path)
    kept.save_plan(K, Plan(2), {}, kept.snapshot.manifest.rows_checksum())
    assert reader.default_plan(K) == PLAN
    assert reader.refresh()
    assert reader.default_plan(K) == Plan(2)


def test_what_was_tuned_for_other_rows_is_not_kept(changing, queries):
    tuned = nv.tune(changing, queries[:300], recall=0.9, k=K, plans=[PLAN, Plan(None)])
    Index.open(changing.path).delete([1])
    with pytest.raises(StorageError, match="tune again"):
        tuned.save(changing)
    assert Index.open(changing.path).tuned == {}


def test_an_index_without_tuned_plans_goes_by_the_rule(index):
    assert index.stored_plans == {}
    assert index.default_plan(K) == rule(index)


def test_the_rows_are_what_they_were(kept, material):
    assert np.array_equal(Index.open(kept.path, verify=True).vectors, material[0])
