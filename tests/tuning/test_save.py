"""A tuned plan in its index: in use until rows change, stale from then on."""

import numpy as np
import pytest

import nestvec as nv
from nestvec import Index, Plan
from nestvec.errors import StorageError
from nestvec.index.plans.default_plan import default_plan
from nestvec.tuning.evidence import read_keys

K = 5
PLAN = Plan(3)


def default(index, k=K):
    return default_plan(index.snapshot.largest, k)


@pytest.fixture
def saved(changing):
    """An index that stores PLAN for K."""
    checksum = changing.snapshot.manifest.rows_checksum()
    changing.save_plan(K, PLAN, {"why": "a test"}, checksum)
    return changing


def test_the_plan_that_tune_finds_is_saved_and_used(changing, queries):
    tuned = nv.tune(changing, queries[:300], recall=0.9, k=K, plans=[PLAN, Plan(None)])
    tuned.save(changing)
    opened = Index.open(changing.path, verify=True)
    assert opened.default_plan(K) == tuned.plan != default(opened)
    evidence = dict(opened.stored_plans[K].evidence)
    assert read_keys(evidence).tolist() == list(tuned.query_keys)
    assert evidence.pop("query_keys")
    assert evidence == tuned.to_json()
    assert opened.generation == 2


def test_it_is_used_for_its_own_k_alone(saved, queries):
    assert saved.default_plan(K) == PLAN
    assert saved.default_plan(K + 1) == default(saved, K + 1)
    hits = saved.search(queries[:20], K)
    assert (hits.rows == saved.search(queries[:20], K, plan=PLAN).rows).all()


def test_filtered_and_exact_searches_use_the_default_plan(saved, queries):
    def bytes_read(**options):
        return saved.search(queries[:5], K, **options).stats.size_bytes

    assert bytes_read(where="id >= 0") == bytes_read(where="id >= 0", plan=default(saved))
    assert bytes_read(exact=True) == bytes_read(exact=True, plan=default(saved))


@pytest.mark.parametrize("change", ["add", "delete", "update"])
def test_when_rows_change_it_is_stale_and_searches_use_the_default_plan(saved, queries, change):
    act = {
        "add": lambda: saved.add(queries[:1]),
        "delete": lambda: saved.delete([0]),
        "update": lambda: saved.update(queries[:1], ids=[0]),
    }
    act[change]()
    assert not saved.stored_plans[K].current
    assert saved.default_plan(K) == default(saved)
    assert Index.open(saved.path).stored_plans[K].plan == PLAN


def test_compacting_makes_it_stale(saved):
    saved.delete([0])
    saved.compact()
    assert not saved.stored_plans[K].current


def test_one_plan_is_stored_for_each_k(saved):
    checksum = saved.snapshot.manifest.rows_checksum()
    saved.save_plan(7, Plan(4), {}, checksum)
    saved.save_plan(K, Plan(2), {}, checksum)
    assert {k: tuned.plan for k, tuned in saved.stored_plans.items()} == {K: Plan(2), 7: Plan(4)}
    assert all(tuned.current for tuned in saved.stored_plans.values())


def test_other_readers_see_it_when_they_refresh(saved):
    reader = Index.open(saved.path)
    saved.save_plan(K, Plan(2), {}, saved.snapshot.manifest.rows_checksum())
    assert reader.default_plan(K) == PLAN
    assert reader.refresh()
    assert reader.default_plan(K) == Plan(2)


def test_a_plan_tuned_for_other_rows_is_not_saved(changing, queries):
    tuned = nv.tune(changing, queries[:300], recall=0.9, k=K, plans=[PLAN, Plan(None)])
    Index.open(changing.path).delete([1])
    with pytest.raises(StorageError, match="tune again"):
        tuned.save(changing)
    assert Index.open(changing.path).stored_plans == {}


def test_an_index_without_stored_plans_uses_the_default_plan(index):
    assert index.stored_plans == {}
    assert index.default_plan(K) == default(index)


def test_saving_a_plan_leaves_the_rows_as_they_were(saved, dataset):
    assert np.array_equal(Index.open(saved.path, verify=True).vectors, dataset[0])
