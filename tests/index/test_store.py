"""An index is a vector store: it upserts, deletes, reads back, iterates and pickles."""

import copy
import pickle

import numpy as np
import pytest

from nestvec import Index
from nestvec.errors import IdsError, InputError
from nestvec.vector_store import VectorStore, WritableVectorStore

DIM = 8


@pytest.fixture
def index(tmp_path):
    vectors = np.eye(DIM, dtype=np.float32)
    ids = [f"row {i}" for i in range(DIM)]
    texts = [f"text {i}" for i in range(DIM)]
    return Index.build(
        vectors, tmp_path / "store.nv", ids=ids, texts=texts, metadata=[{"n": i} for i in range(8)]
    )


def test_an_index_is_a_writable_vector_store(index):
    assert isinstance(index, VectorStore)
    assert isinstance(index, WritableVectorStore)


def test_upsert_adds_new_rows_and_replaces_whole_old_ones_in_one_commit(index):
    before = index.generation
    index.upsert(-np.eye(DIM, dtype=np.float32)[:2], ids=["row 0", "new"], texts=["a", "b"])
    assert (len(index), index.generation) == (DIM + 1, before + 1)
    replaced, new, old = index.get(["row 0", "new", "row 1"])
    assert (replaced.text, replaced.metadata) == ("a", None)
    assert (new.text, old.text) == ("b", "text 1")
    assert index.search(-np.eye(DIM, dtype=np.float32)[:1], k=1).ids[0, 0] == "row 0"


@pytest.mark.parametrize("add", [Index.add, Index.upsert])
def test_ids_of_the_other_kind_are_refused_and_nothing_changes(index, add):
    before = index.version
    with pytest.raises(IdsError, match="ids of this index are of type str"):
        add(index, np.eye(DIM, dtype=np.float32)[:2], ids=[1, 2])
    assert index.version == before
    assert index.search(np.eye(DIM, dtype=np.float32)[:1], k=DIM).ids[0, 0] == "row 0"


def test_upsert_takes_each_id_once(index):
    with pytest.raises(IdsError):
        index.upsert(np.eye(DIM, dtype=np.float32)[:2], ids=["twin", "twin"])
    assert "twin" not in index


@pytest.mark.parametrize("block_rows", [1, 3, 100])
def test_blocks_of_vectors_are_the_live_rows_in_order(index, block_rows):
    index.delete(["row 3"])
    index.add(np.ones((2, DIM), np.float32), ids=["x", "y"])
    blocks = list(index.iter_vectors(block_rows))
    assert max(len(ids) for ids, _ in blocks) <= block_rows
    assert np.concatenate([ids for ids, _ in blocks]).tolist() == index.ids.tolist()
    assert (np.concatenate([vectors for _, vectors in blocks]) == index.vectors).all()
    with pytest.raises(InputError, match="block_rows=0"):
        index.iter_vectors(0)


def test_iteration_shows_one_generation_to_the_end(index):
    blocks = index.iter_vectors(4)
    ids, _ = next(blocks)
    index.delete(["row 7"])
    rest, _ = next(blocks)
    assert [*ids, *rest] == [f"row {i}" for i in range(DIM)]


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda i: pickle.loads(pickle.dumps(i))])
def test_a_copy_opens_the_same_path(index, make_copy):
    twin = make_copy(index)
    assert twin.path == index.path.absolute()
    query = np.eye(DIM, dtype=np.float32)[:1]
    assert twin.search(query, k=3).ids.tolist() == index.search(query, k=3).ids.tolist()


def test_it_says_what_it_is(index):
    assert repr(index).startswith("<Index: 8 rows × 8 dims, ip, generation 1, at ")
    html = index._repr_html_()
    assert "<th>rows</th><td>8</td>" in html


@pytest.mark.door("delete(where=)", "matching rows go, and are counted")
def test_rows_that_match_a_filter_are_deleted_and_counted(index):
    assert index.delete(where="n >= 5") == 3
    assert [*index.ids] == [f"row {i}" for i in range(5)]
    assert index.delete(where="n >= 5") == 0
    assert index.delete("row 1") == 1
    index.compact()
    assert index.delete(where="n < 3") == 2
    assert [*index.ids] == ["row 3", "row 4"]


def test_a_filter_and_ids_exclude_each_other(index):
    for options in ({}, {"ids": "row 1", "where": "n = 1"}):
        with pytest.raises(InputError, match="either ids or a filter"):
            index.delete(**options)
    assert len(index) == DIM


def test_a_filter_sees_what_others_have_written(index):
    other = Index.open(index.path)
    other.update(ids=["row 0"], metadata=[{"n": 100}])
    assert index.delete(where="n = 100") == 1
    assert "row 0" not in index


@pytest.mark.door("update of metadata", "replaces the record, or merges its fields if told")
def test_metadata_is_replaced_whole_or_merged_by_field(index):
    index.update(ids=["row 0", "row 1"], metadata=[{"m": 1}, {"n": None}], merge_metadata=True)
    zero, one = index.get(["row 0", "row 1"])
    assert (zero.metadata, one.metadata) == ({"n": 0, "m": 1}, {"n": None})
    assert (zero.text, one.text) == ("text 0", "text 1")
    index.update(ids=["row 0"], metadata=[{"k": 2}])
    assert index.get("row 0")[0].metadata == {"k": 2}


@pytest.mark.door("use of a closed index", "refused, with the way out")
def test_a_closed_index_says_so(index):
    with index as opened:
        assert len(opened) == DIM
    for use in (lambda: len(index), lambda: index.search(np.eye(DIM)), index.compact):
        with pytest.raises(InputError, match="is closed; open it again"):
            use()
    assert "closed" in repr(index)
    assert len(Index.open(index.path)) == DIM
    index.close()


@pytest.mark.door("relative paths and ~", "resolved when the index is opened")
def test_paths_stay_right_when_the_program_changes_folder(index, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(index.path.parent))
    monkeypatch.chdir(index.path.parent)
    opened = [Index.open(path) for path in ("store.nv", "~/store.nv")]
    built = Index.build(np.eye(DIM, dtype=np.float32), "~/other.nv")
    monkeypatch.chdir("/")
    for each in (*opened, built):
        each.delete(where="n is not null or id >= 0")
        assert pickle.loads(pickle.dumps(each)).path == each.path == each.path.absolute()
        each.refresh()
