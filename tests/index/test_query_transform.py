"""An index that was built with an adapter asks and takes vectors as the model makes them."""

import json
import zlib

import numpy as np
import pytest

import nestvec as nv
from nestvec import Index, Rotation
from nestvec.adapt import MatryoshkaAdaptor, Prefix
from nestvec.adapt.matryoshka_adaptor import Map
from nestvec.errors import DamagedIndexError, NewerFormatError, VectorsError
from nestvec.index.query_transform import NAME
from nestvec.index.storage import catalog

DIM = 24


@pytest.fixture
def vectors(rng):
    rows = rng.standard_normal((500, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def adapter(rng):
    """Two-sided, and narrower at the end."""
    maps = [Map(rng.standard_normal((DIM, DIM)).astype(np.float32)) for _ in range(2)]
    return MatryoshkaAdaptor(*maps, (8, 16)).then(Prefix(DIM, 16))


@pytest.fixture
def index(vectors, adapter, tmp_path):
    return Index.build(vectors, tmp_path / "i.nv", transform=adapter)


def test_it_answers_as_an_index_of_adapted_vectors_does(index, vectors, adapter, tmp_path):
    plain = Index.build(adapter.transform(vectors), tmp_path / "plain.nv")
    asked = adapter.transform_queries(vectors[:20])
    for plan in (None, "probe=all; full"):
        one = index.search(vectors[:20], plan=plan)
        other = plain.search(asked, plan=plan)
        assert (one.ids == other.ids).all()
        assert (one.scores == other.scores).all()
    assert (index.vectors == plain.vectors).all()
    assert (index.dim, index.transform.dim) == (16, DIM)


def test_queries_that_were_adapted_already_are_taken_by_fingerprint(index, vectors, adapter):
    asked = adapter.transform_queries(vectors[:5])
    direct = index.search(vectors[:5], exact=True)
    again = index.search(asked, exact=True, transformed_by=adapter.fingerprint)
    assert (direct.ids == again.ids).all()
    with pytest.raises(VectorsError, match="went through the adapter 0123"):
        index.search(asked, transformed_by="0123")
    with pytest.raises(VectorsError, match=f"16 dimensions but {DIM}"):
        index.search(asked)


def test_an_index_without_adapter_takes_no_adapted_queries(vectors, tmp_path):
    plain = Index.build(vectors, tmp_path / "plain.nv")
    assert plain.transform is None
    with pytest.raises(VectorsError, match="through no adapter"):
        plain.search(vectors[:2], transformed_by="0123")


def test_what_is_added_and_updated_goes_through_the_adapter(index, vectors, adapter):
    index.add(vectors[:3], ids=[900, 901, 902])
    index.update(vectors[10:11], ids=[4])
    stored = dict(zip(index.ids.tolist(), index.vectors, strict=True))
    for id_, row in ((900, 0), (902, 2), (4, 10)):
        assert np.allclose(stored[id_], adapter.transform(vectors[row : row + 1])[0], atol=1e-6)
    index.compact()
    assert index.transform is not None
    assert index.search(vectors[:1], transformed_by=None).ids.shape == (1, 10)


def test_a_new_process_finds_the_adapter_in_the_folder(index, vectors):
    opened = Index.open(index.path, verify=True)
    assert opened.transform.fingerprint == index.transform.fingerprint
    assert (opened.search(vectors[:9]).ids == index.search(vectors[:9]).ids).all()


def test_readers_that_know_no_adapters_are_kept_away(index, monkeypatch):
    monkeypatch.setattr(catalog, "WITH_ADAPTER", 2)  # as an older nestvec reads it
    with pytest.raises(NewerFormatError, match="format 3"):
        Index.open(index.path)


def test_any_damage_to_the_adapter_is_found_at_once(index):
    path = index.path / NAME
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(DamagedIndexError, match="checksum"):
            Index.open(index.path)
    path.unlink()
    with pytest.raises(DamagedIndexError):
        Index.open(index.path)


def test_the_catalog_says_which_adapter_it_is(index, adapter):
    told = index.meta["adapter"]
    checksum = zlib.crc32((index.path / NAME).read_bytes())
    expected = {"fingerprint": adapter.fingerprint, "dim": DIM, "checksum": checksum}
    assert json.loads(json.dumps(told)) == expected
    assert index.meta["format"] == 3


def test_other_widths_and_other_models_are_refused(vectors, tmp_path, rng):
    signal = rng.standard_normal((400, 64)) / np.arange(1, 65)
    rows = (signal / np.linalg.norm(signal, axis=1, keepdims=True)).astype(np.float32)
    fitted = MatryoshkaAdaptor(
        Map(np.eye(64, dtype=np.float32)), Map(np.eye(64, dtype=np.float32)), (8,), 0.95
    )
    with pytest.raises(VectorsError, match="24 dimensions but 64"):
        Index.build(vectors, tmp_path / "i.nv", transform=fitted)
    foreign = Rotation.random(64, 1).transform(rows)
    with pytest.raises(VectorsError, match="do not look like"):
        Index.build(foreign, tmp_path / "i.nv", transform=fitted)
    index = Index.build(rows, tmp_path / "i.nv", transform=fitted)
    with pytest.raises(VectorsError, match="do not look like"):
        index.add(foreign)


def test_it_is_tuned_and_audited_by_queries_as_the_model_makes_them(index, vectors, rng):
    asked = nv.truncate(vectors[:120] + 0.1 * rng.standard_normal((120, DIM)), DIM)
    tuned = nv.tune(index, asked.astype(np.float32), recall=0.8, plans=["probe=all; full"])
    assert tuned.plan is not None
    qrels = {query: {query: 1} for query in range(120)}
    assert nv.tune(index, asked.astype(np.float32), ndcg=0.5, qrels=qrels).queries == 120
    report = nv.audit(index, asked.astype(np.float32), variants=[{"dims": 8}]).to_json()
    assert report["inputs"]["documents"]["dim"] == 16
