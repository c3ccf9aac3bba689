"""Text indexes: texts in, texts searched, by one encoder from the first day on."""

import pickle

import numpy as np
import pytest

from nestvec import Index, TextIndex
from nestvec.encode import ModelInfo
from nestvec.errors import InputError, StorageError

TEXTS = ["red apple", "green apple", "red car", "green car"]


class LetterCounts:
    """A real encoder of the smallest kind: unit vectors of letter counts."""

    info = ModelInfo("letter-counts", "1", 26)

    def __init__(self):
        self.encoded = []

    def encode(self, items, progress=None):
        self.encoded += items
        counts = [[text.count(letter) for letter in map(chr, range(97, 123))] for text in items]
        array = np.array(counts, np.float32).reshape(len(items), 26)
        return array / np.linalg.norm(array, axis=1, keepdims=True)


@pytest.fixture
def encoder():
    return LetterCounts()


@pytest.fixture
def texts(tmp_path, encoder):
    return TextIndex.build(
        TEXTS, tmp_path / "texts.nv", model=encoder, ids=["a", "b", "c", "d"],
        metadata=[{"n": n} for n in range(4)],
    )  # fmt: skip


def test_texts_are_found_by_texts(texts):
    hits = texts.search("red apples", k=2)
    assert hits.ids.shape == (1, 2)
    assert hits[0][0].id == "a"
    assert texts.get(hits.ids[0])[0].text == "red apple"
    assert len(texts.search(["car", "apple"], k=1)) == 2


def test_search_takes_the_options_of_an_index(texts):
    hits = texts.search("red apple", k=4, where="n >= 2", exact=True)
    assert {hit.id for hit in hits[0]} == {"c", "d"}
    assert hits.certified.all()


def test_no_vectors_are_left_beside_the_index(texts, tmp_path):
    texts.add("blue bus", ids="e")
    assert [path.name for path in tmp_path.iterdir()] == ["texts.nv"]


def test_texts_are_added_replaced_and_deleted(texts):
    texts.add(["blue bus"], ids=["e"])
    assert texts.search("bus blue", k=1).ids[0, 0] == "e"
    texts.update(["yellow bus"], ids=["e"])
    assert texts.get("e")[0].text == "yellow bus"
    texts.delete("e")
    assert "e" not in texts
    assert len(texts) == 4


def test_a_bad_place_is_refused_before_anything_is_encoded(texts, encoder):
    encoder.encoded.clear()
    with pytest.raises(StorageError):
        TextIndex.build(TEXTS, texts.index.path, model=encoder)
    with pytest.raises(InputError):
        TextIndex.build("red apple", texts.index.path, model=encoder, overwrite=True)
    assert encoder.encoded == []


@pytest.mark.parametrize("wrong", [{"ids": ["a", "a"]}, {"ids": ["a"]}, {"metadata": [{}]}])
def test_bad_rows_are_refused_before_anything_is_encoded(encoder, tmp_path, wrong):
    with pytest.raises(InputError):
        TextIndex.build(["one", "two"], tmp_path / "new.nv", model=encoder, **wrong)
    assert encoder.encoded == []
    assert not any(tmp_path.iterdir())


def test_an_address_goes_with_the_name_of_a_model(encoder, tmp_path):
    with pytest.raises(InputError, match="base_url"):
        TextIndex.build(TEXTS, tmp_path / "new.nv", model=encoder, base_url="http://localhost/v1")


def test_it_says_what_it_is(texts):
    assert "4 texts" in repr(texts)
    assert "letter-counts" in repr(texts)


def test_the_recorded_model_encodes_later_texts(tmp_path):
    pytest.importorskip("sentence_transformers")
    built = TextIndex.build(TEXTS, tmp_path / "minilm.nv")
    opened = TextIndex.open(tmp_path / "minilm.nv")
    assert opened.encoder.info == built.encoder.info
    assert opened.search("a fruit that is red", k=1)[0][0].id == 0
    copy = pickle.loads(pickle.dumps(opened))
    assert (
        copy.search("a vehicle", k=2).ids.tolist() == opened.search("a vehicle", k=2).ids.tolist()
    )


def test_a_copy_has_the_encoder_that_was_passed(texts, encoder):
    encoder.name = "passed"
    for text_index in (texts, TextIndex.open(texts.index.path, model=encoder)):
        copy = pickle.loads(pickle.dumps(text_index))
        assert copy.encoder.name == "passed"
        assert copy.search("red apple", k=1)[0] == text_index.search("red apple", k=1)[0]


def test_a_copy_opens_a_named_model_anew(tmp_path):
    pytest.importorskip("sentence_transformers")
    built = TextIndex.build(TEXTS, tmp_path / "minilm.nv", model="minilm")
    assert len(pickle.dumps(built)) < 10_000
    assert pickle.loads(pickle.dumps(built)).encoder.info == built.encoder.info


def test_an_index_without_a_model_asks_for_one(tmp_path):
    Index.build(np.eye(4, dtype=np.float32), tmp_path / "vectors.nv")
    with pytest.raises(InputError, match="no model is recorded"):
        TextIndex.open(tmp_path / "vectors.nv").search("a text")
