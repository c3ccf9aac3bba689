"""Ids in any form that holds them: one value is one id, and what holds no ids is refused."""

from collections import OrderedDict

import numpy as np
import pandas as pd
import pytest
import torch

from nestvec import Index
from nestvec.errors import IdsError, InputError
from nestvec.index.storage.row_records import check_ids, check_length

VECTORS = np.arange(280, dtype=np.float32).reshape(70, 4)
NAMES = [str(i) for i in range(70)]


def built(path, ids=None):
    return Index.build(VECTORS, path, ids=ids, texts=[f"text {i}" for i in range(70)])


@pytest.fixture
def numbers(tmp_path):
    """Rows with the ids 0 to 69."""
    return built(tmp_path / "numbers.nv")


@pytest.fixture
def names(tmp_path):
    """Rows with the ids "0" to "69"."""
    return built(tmp_path / "names.nv", NAMES)


@pytest.mark.parametrize("id_", ["12", "34", np.str_("34"), np.array("34"), "5"])
def test_a_single_string_is_one_id(names, id_):
    names.delete(id_)
    assert names.ids.tolist() == [name for name in NAMES if name != str(id_)]


@pytest.mark.parametrize("id_", [12, np.int64(12), np.uint8(12), np.array(12), torch.tensor(12)])
def test_a_single_number_is_one_id(numbers, id_):
    numbers.delete(id_)
    assert numbers.ids.tolist() == [i for i in range(70) if i != 12]


@pytest.mark.parametrize("id_", ["34", np.str_("12")])
def test_an_update_by_a_single_string_replaces_one_row(names, id_):
    names.update(-VECTORS[:1], ids=id_)
    assert names.ids.tolist() == [*(name for name in NAMES if name != str(id_)), str(id_)]
    with pytest.raises(InputError, match="2 vectors were given for 1 ids"):
        names.update(VECTORS[:2], ids=id_)
    with pytest.raises(IdsError, match="1 ids were given for 2 vectors"):
        names.add(VECTORS[:2], ids="ab")
    names.add(VECTORS[:1], ids="ab")
    assert names.ids[-1] == "ab"


COLLECTIONS = {
    "list": list,
    "tuple": tuple,
    "generator": iter,
    "dict keys": lambda ids: dict.fromkeys(ids).keys(),
    "dict values": lambda ids: dict(enumerate(ids)).values(),
    "array": np.array,
    "objects": lambda ids: np.array(ids, object),
    "series": pd.Series,
    "labelled series": lambda ids: pd.Series(ids, index=[10 * i for i in range(len(ids))]),
    "index": pd.Index,
    "categories": lambda ids: pd.Series(ids, dtype="category"),
}


@pytest.mark.parametrize("kind", COLLECTIONS)
@pytest.mark.parametrize("change", ["delete", "update", "add", "build"])
@pytest.mark.parametrize("name", [int, str])
def test_collections_of_ids_of_any_kind_are_accepted(kind, change, name, tmp_path):
    ids = [name(i) for i in (31, 3, 12)]
    collection = COLLECTIONS[kind](ids)
    every = [name(i) for i in range(70)]
    if change == "build":
        assert Index.build(VECTORS[:3], tmp_path / "i.nv", ids=collection).ids.tolist() == ids
        return
    index = built(tmp_path / "i.nv", every)
    rest = [id_ for id_ in every if id_ not in ids]
    if change == "delete":
        index.delete(collection)
        assert index.ids.tolist() == rest
    elif change == "update":
        index.update(-VECTORS[:3], ids=collection)
        assert index.ids.tolist() == rest + ids
        assert (index.vectors[-3:] == -VECTORS[:3]).all()
    else:
        index.delete(ids)
        index.add(-VECTORS[:3], ids=collection)
        assert index.ids.tolist() == rest + ids


@pytest.mark.parametrize("kind", [set, frozenset])
def test_sets_can_be_deleted_but_say_not_which_row_is_which(numbers, kind):
    ids = kind([3, 31])
    with pytest.raises(IdsError, match="no order"):
        numbers.update(VECTORS[:2], ids=ids)
    numbers.delete(ids)
    assert len(numbers) == 68
    with pytest.raises(IdsError, match="no order"):
        numbers.add(VECTORS[:2], ids=ids)


NO_IDS = {
    "dict": {1: "a", 2: "b"},
    "ordered dict": OrderedDict([("1", 1), ("2", 2)]),
    "bytes": b"12",
    "bytearray": bytearray(b"12"),
    "memoryview": memoryview(b"12"),
    "array of bytes": np.array([b"1", b"2"]),
    "bool": True,
    "NumPy bool": np.array(True),
    "bools": np.array([True, False]),
    "float": np.array(1.0),
    "floats": [1.0, 2.0],
    "array of floats": np.array([1.0, 2.0]),
    "series of floats": pd.Series([1.0, 2.0]),
    "missing": pd.Series([1, None], dtype="Int64"),
    "nested": [[1], [2]],
    "pairs": {1: "a", 2: "b"}.items(),
    "matrix": np.array([[1], [2]]),
    "frame": pd.DataFrame({"1": ["a", "b"], "2": ["c", "d"]}),
    "list with None": [1, None],
    "mixed": [1, "2"],
    "dates": np.array(["2020-01-01"], "datetime64[D]"),
}


@pytest.mark.parametrize("kind", NO_IDS)
def test_what_is_no_collection_of_ids_is_refused_and_changes_nothing(kind, numbers, names):
    for index in (numbers, names):
        with pytest.raises(IdsError):
            index.delete(NO_IDS[kind])
        with pytest.raises(IdsError):
            index.update(VECTORS[:2], ids=NO_IDS[kind])
        with pytest.raises(IdsError):
            index.add(VECTORS[:2], ids=NO_IDS[kind])
        assert Index.open(index.path).generation == 1


@pytest.mark.parametrize("value", [None, 1.0, np.float32(1), np.True_, ..., list, len], ids=str)
def test_a_value_that_is_neither_id_nor_collection_is_refused(value):
    with pytest.raises(IdsError, match=r"type|collection"):
        check_ids(value)


def test_a_single_text_is_not_one_text_for_each_row(numbers):
    with pytest.raises(InputError, match="texts are a single str"):
        numbers.add(VECTORS[:2], ids=[100, 101], texts="ab")
    with pytest.raises(InputError, match="texts are a single str"):
        numbers.update(ids=[1, 2], texts="ab")
    assert numbers.generation == 1


@pytest.mark.parametrize("values", ["ab", b"ab", bytearray(2), {"a": 1, "b": 2}, {"a", "b"}])
def test_values_for_rows_are_in_a_sequence(values):
    with pytest.raises(InputError, match="a list with one for each of the 2 vectors"):
        check_length(values, 2, "texts")
