"""Documents are read by id, whatever the ids are, in the generation that is shown."""

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nestvec import Index
from nestvec.errors import DamagedIndexError, IdsError, InputError, StorageError
from nestvec.index import Document

GOLDEN = Path(__file__).parents[1] / "golden"
N = 60

IDS = {
    "other numbers than rows": np.arange(N)[::-1].tolist(),
    "large numbers": [10**15 + 7 * i for i in range(N)],
    "negative numbers": [-2 - i for i in range(N)],
    "with minus one": [i - 30 for i in range(N)],
    "strings": [f"é{i}" for i in range(N)],
    "strings of other rows": [str(N - 1 - i) for i in range(N)],
}


@pytest.fixture(params=IDS)
def ids(request):
    """Ids that are not the row numbers."""
    return IDS[request.param]


@pytest.fixture
def index(ids, tmp_path, rng):
    """A small index with a text and metadata for each id."""
    return Index.build(
        rng.standard_normal((N, 8)).astype(np.float32),
        tmp_path / "i.nv",
        ids=ids,
        texts=[f"text of {id_}" for id_ in ids],
        metadata=[{"id": id_} for id_ in ids],
    )


def document(id_):
    return Document(id_, f"text of {id_}", {"id": id_})


def test_the_ids_of_an_answer_give_its_documents(index, rng):
    hits = index.search(rng.standard_normal((4, 8)).astype(np.float32), 7)
    for line in hits.ids:
        assert index.get(line) == [document(id_) for id_ in line.tolist()]


def test_a_single_id_or_any_collection_in_any_order_and_repeated(index, ids):
    some = [ids[i] for i in (41, 3, 41, 59, 0)]
    expected = [document(id_) for id_ in some]
    for form in (some, tuple(some), iter(some), pd.Series(some), np.array(some)):
        assert index.get(form) == expected
    assert index.get(some[0]) == index.get(np.array(some)[0]) == expected[:1]
    assert index.get([]) == []


def test_padded_places_have_no_document(index, ids, rng):
    where = f"id in ({ids[3]!r}, {ids[9]!r})"
    hits = index.search(rng.standard_normal((3, 8)).astype(np.float32), 5, where=where)
    for line in hits.ids:
        documents = index.get(line)
        assert {d.id for d in documents[:2]} == {ids[3], ids[9]}
        padding = document(-1) if -1 in ids else None
        assert documents[2:] == [padding] * 3
    assert index.get([None, ids[0]]) == [None, document(ids[0])]


@pytest.mark.parametrize("unknown", [77_777, "77777", "text of 3", ""])
def test_unknown_ids_are_named(index, ids, unknown):
    with pytest.raises(IdsError, match=f"the id {unknown!r}; its ids are of type"):
        index.get(unknown)
    if type(unknown) is type(ids[0]):
        with pytest.raises(IdsError, match=f"{unknown!r}; its ids"):
            index.get([ids[0], unknown, ids[1]])


def test_of_many_unknown_ids_the_first_are_named(index):
    with pytest.raises(IdsError, match="100000, 100001, 100002 and 97 more"):
        index.get(range(100_000, 100_100))


@pytest.mark.parametrize("wrong", [{1: 2}, np.ones((2, 2), int), b"1", [1.5], ["1", 1], True])
def test_what_is_no_id_is_refused(index, wrong):
    with pytest.raises(IdsError):
        index.get(wrong)


def test_a_batch_of_answers_is_refused_and_not_flattened(index, rng):
    hits = index.search(rng.standard_normal((3, 8)).astype(np.float32), 5)
    with pytest.raises(IdsError, match=r"of shape \(3, 5\)"):
        index.get(hits.ids)


def test_an_index_says_whether_it_has_an_id(index, ids):
    assert all(id_ in index for id_ in ids)
    assert np.array(ids)[7] in index
    absent = (77_777, "77777", 1.5, None, True, b"1", 2**70, "\ud800", [ids[0]] * 2, {}, object())
    assert not any(value in index for value in absent)
    index.delete(ids[7])
    assert ids[7] not in index
    with pytest.raises(IdsError, match="no row of the index"):
        index.get([ids[7]])


def test_a_reader_gets_the_documents_of_its_generation(index, ids, rng):
    reader = Index.open(index.path)
    index.update(ids=[ids[5]], texts=["new"])
    index.delete([ids[6]])
    index.add(rng.standard_normal((1, 8)).astype(np.float32), ids=[ids[6]], texts=["again"])
    assert reader.get(ids[5:8]) == [document(id_) for id_ in ids[5:8]]
    assert [d.text for d in index.get(ids[5:8])] == ["new", "again", f"text of {ids[7]}"]
    index.compact()
    assert reader.get(ids[7]) == [document(ids[7])]
    with pytest.raises(StorageError, match=r"refresh\(\)"):
        reader.get(ids[5])
    assert reader.refresh()
    assert reader.get(ids[5])[0].text == "new"


def test_a_reader_of_a_replaced_index_gets_nothing_of_the_other(index, ids, rng):
    reader = Index.open(index.path)
    vectors = rng.standard_normal((N, 8)).astype(np.float32)
    Index.build(vectors, index.path, ids=ids, overwrite=True)
    with pytest.raises(StorageError, match="replaced by another index"):
        reader.get(ids[0])


@pytest.mark.parametrize("number", [1, 2, 3])
def test_indexes_of_every_format_are_read_by_id(number, tmp_path):
    index = Index.open(shutil.copytree(GOLDEN / f"format_{number}.nv", tmp_path / "i.nv"))
    ids = index.ids.tolist()
    expected = [Document(id_, f"text {id_[1:]}", {"row": int(id_[1:])}) for id_ in ids]
    assert index.get(ids[::-1]) == expected[::-1]
    assert ids[0] in index
    assert "none" not in index


@pytest.mark.parametrize("damage", ["row = 5", "row = 5000", "row = 'x'"])
def test_a_row_under_the_id_of_another_is_damage(index, ids, damage):
    with sqlite3.connect(index.path / "catalog.sqlite") as db:
        db.execute(f"UPDATE ids SET {damage} WHERE id = ?", (ids[40],))
    with pytest.raises(DamagedIndexError):
        index.get(ids[40])


def test_reading_by_row_numbers_says_that_ids_are_meant(index, ids):
    with pytest.warns(DeprecationWarning, match=r"use Index\.get"):
        assert index.documents([3, 0]) == [document(ids[3]), document(ids[0])]
    for wrong in (["3"], [3.0], [None]):
        with (
            pytest.warns(DeprecationWarning, match="row numbers"),
            pytest.raises(InputError, match="for ids use get"),
        ):
            index.documents(wrong)
