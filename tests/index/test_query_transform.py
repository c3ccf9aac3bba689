"""An index that was built with a transform takes queries and rows as the model makes them."""

import json
import zlib

import numpy as np
import pytest

import nestvec as nv
from nestvec import Index, Rotation
from nestvec.adapt import MatryoshkaAdaptor, Prefix
from nestvec.errors import DamagedIndexError, NewerFormatError, VectorsError
from nestvec.index.query_transform import NAME
from nestvec.index.storage import catalog
from nestvec.transforms.residual import Map

DIM = 24


@pytest.fixture
def vectors(rng):
    rows = rng.standard_normal((500, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def transform(rng):
    """A chain with maps of its own for queries and documents, narrower at the end."""
    maps = [Map(rng.standard_normal((DIM, DIM)).astype(np.float32)) for _ in range(2)]
    return MatryoshkaAdaptor(*maps, (8, 16)).compose(Prefix(DIM, 16))


@pytest.fixture
def index(vectors, transform, tmp_path):
    return Index.build(vectors, tmp_path / "i.nv", transform=transform)


def test_its_hits_are_those_of_an_index_of_transformed_vectors(index, vectors, transform, tmp_path):
    plain = Index.build(transform.transform(vectors), tmp_path / "plain.nv")
    queries = transform.transform_queries(vectors[:20])
    for plan in (None, "probe=all; full"):
        hits = index.search(vectors[:20], plan=plan)
        expected = plain.search(queries, plan=plan)
        assert (hits.ids == expected.ids).all()
        assert (hits.scores == expected.scores).all()
    assert (index.vectors == plain.vectors).all()
    assert (index.dim, index.transform.dim) == (16, DIM)


def test_transformed_queries_are_accepted_by_fingerprint(index, vectors, transform):
    queries = transform.transform_queries(vectors[:5])
    direct = index.search(vectors[:5], exact=True)
    again = index.search(queries, exact=True, transformed_by=transform.fingerprint)
    assert (direct.ids == again.ids).all()
    with pytest.raises(VectorsError, match="went through the transform 0123"):
        index.search(queries, transformed_by="0123")
    with pytest.raises(VectorsError, match=f"16 dimensions but {DIM}"):
        index.search(queries)


def test_an_index_without_a_transform_rejects_transformed_queries(vectors, tmp_path):
    plain = Index.build(vectors, tmp_path / "plain.nv")
    assert plain.transform is None
    with pytest.raises(VectorsError, match="through no transform"):
        plain.search(vectors[:2], transformed_by="0123")


def test_added_and_updated_rows_are_transformed(index, vectors, transform):
    index.add(vectors[:3], ids=[900, 901, 902])
    index.update(vectors[10:11], ids=[4])
    stored = dict(zip(index.ids.tolist(), index.vectors, strict=True))
    for id_, row in ((900, 0), (902, 2), (4, 10)):
        assert np.allclose(stored[id_], transform.transform(vectors[row : row + 1])[0], atol=1e-6)
    index.compact()
    assert index.transform is not None
    assert index.search(vectors[:1], transformed_by=None).ids.shape == (1, 10)


def test_an_index_is_opened_with_its_transform(index, vectors):
    opened = Index.open(index.path, verify=True)
    assert opened.transform.fingerprint == index.transform.fingerprint
    assert (opened.search(vectors[:9]).ids == index.search(vectors[:9]).ids).all()


def test_older_versions_that_know_no_transforms_refuse_the_index(index, monkeypatch):
    monkeypatch.setattr(catalog, "WITH_ADAPTER", 2)  # as an older nestvec reads it
    with pytest.raises(NewerFormatError, match="format 3"):
        Index.open(index.path)


def test_any_damage_to_the_transform_is_detected_at_open(index):
    path = index.path / NAME
    intact = path.read_bytes()
    for place in range(0, len(intact), 97):
        path.write_bytes(intact[:place] + bytes([intact[place] ^ 4]) + intact[place + 1 :])
        with pytest.raises(DamagedIndexError, match="checksum"):
            Index.open(index.path)
    path.unlink()
    with pytest.raises(DamagedIndexError):
        Index.open(index.path)


def test_the_catalog_records_the_transform(index, transform):
    entry = index.meta["adapter"]
    checksum = zlib.crc32((index.path / NAME).read_bytes())
    expected = {"fingerprint": transform.fingerprint, "dim": DIM, "checksum": checksum}
    assert json.loads(json.dumps(entry)) == expected
    assert index.meta["format"] == 3


def test_vectors_of_another_width_or_model_are_an_error(vectors, tmp_path, rng):
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


def test_it_is_tuned_and_audited_with_queries_of_the_model(index, vectors, rng):
    perturbed = nv.truncate(vectors[:120] + 0.1 * rng.standard_normal((120, DIM)), DIM)
    tuned = nv.tune(index, perturbed.astype(np.float32), recall=0.8, plans=["probe=all; full"])
    assert tuned.plan is not None
    qrels = {row: {row: 1} for row in range(120)}
    assert nv.tune(index, perturbed.astype(np.float32), ndcg=0.5, qrels=qrels).queries == 120
    report = nv.audit(index, perturbed.astype(np.float32), variants=[{"dims": 8}]).to_json()
    assert report["inputs"]["documents"]["dim"] == 16


def test_old_names_of_the_transform_work_with_a_note(vectors, transform, tmp_path):
    with pytest.warns(DeprecationWarning, match="adapter= is now called transform="):
        index = Index.build(vectors, tmp_path / "i.nv", adapter=transform)
    assert index.transform.fingerprint == transform.fingerprint
    with pytest.warns(DeprecationWarning, match="please use Index.transform"):
        assert index.adapter is index.transform
    with pytest.warns(DeprecationWarning, match="please use Index.transform_queries"):
        queries = index.adapt(vectors[:3])
    assert (queries == index.transform_queries(vectors[:3])).all()
    with pytest.warns(DeprecationWarning, match="adapted_by= is now called transformed_by="):
        hits = index.search(queries, adapted_by=transform.fingerprint)
    assert (hits.ids == index.search(vectors[:3]).ids).all()


def test_the_old_name_of_stored_plans_works_with_a_note(index):
    index.save_plan(10, nv.Plan(1), {}, index.snapshot.manifest.rows_checksum())
    with pytest.warns(DeprecationWarning, match="please use Index.stored_plans"):
        assert index.tuned == index.stored_plans
    assert list(index.stored_plans) == [10]


def test_the_hits_of_a_query_do_not_depend_on_its_batch(tmp_path, rng):
    rows = rng.standard_normal((2000, 384)).astype(np.float32)
    index = Index.build(rows, tmp_path / "wide.nv", transform=Rotation.random(384, 1))
    queries = rng.standard_normal((40, 384)).astype(np.float32)
    together = index.search(queries)
    for row, query in enumerate(queries):
        alone = index.search(query[None])
        assert (alone.rows[0] == together.rows[row]).all()
        assert (alone.scores[0] == together.scores[row]).all()
