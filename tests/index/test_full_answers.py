"""As long as `k` rows are live and allowed, `k` rows are answered, however few cells are probed."""

import shutil

import numpy as np
import pytest

from nestvec import Index
from nestvec.kernels import load

from .conftest import clustered

PLANS = [
    "probe=1; full",
    "probe=2; full",
    "probe=1; 64x1:2200 > full",
    "probe=3; 100x2:2200",
    "probe=1; 64x1:2200 > 100x4:2200 > full",
]


def fill(index, queries, k, **options):
    """Whether each query has `k` different rows that are in the index."""
    hits = index.search(queries, k, **options)
    live = set(index.snapshot.numbers().tolist())
    assert (np.diff(hits.scores, axis=1) <= 0).all()
    return hits.rows.shape[1] == k and all(
        len(set(line)) == k and set(line) <= live for line in hits.rows.tolist()
    )


@pytest.fixture(scope="module", params=["ip", "cosine", "euclidean"])
def near(request, corpus, tmp_path_factory):
    """An index whose metadata tell how near a row is to the first query."""
    vectors, queries = corpus
    order = np.argsort(np.argsort(-(vectors @ queries[0])))
    metadata = [{"place": int(place), "row": row} for row, place in enumerate(order)]
    path = tmp_path_factory.mktemp("near") / "i.nv"
    return Index.build(vectors, path, metric=request.param, metadata=metadata)


@pytest.fixture
def changing(near, tmp_path):
    """A copy of `near`."""
    return Index.open(shutil.copytree(near.path, tmp_path / "i.nv"))


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("k", [10, 700, 2050])
def test_filters(near, corpus, plan, k):
    # More than 2,000 rows are allowed: fewer would all be scored. None is near the first query.
    for where in ("place >= 900", "row < 2100", "place >= 400 and row >= 400"):
        assert fill(near, corpus[1], k, plan=plan, where=where), where


@pytest.mark.parametrize("plan", PLANS)
def test_deletes(changing, corpus, plan):
    changing.delete([d.id for d in changing.get(range(3000)) if d.metadata["place"] < 900])
    for k in (10, 700, 2050):
        assert fill(changing, corpus[1], k, plan=plan), k


def test_deletes_and_filters_in_several_segments(changing, corpus, rng):
    queries = corpus[1]
    more = clustered(rng, 4500, 100)
    changing.add(more, metadata=[{"place": 0, "row": 3000 + i} for i in range(4500)])
    changing.add(more[:50], metadata=[{"place": 10, "row": 7500 + i} for i in range(50)])
    changing.delete(range(100, 1000))
    for k in (10, 2500, 5000):
        for plan in ("probe=1; full", "probe=2; 64x1:5000 > full"):
            assert fill(changing, queries, k, plan=plan), (k, plan)
            assert fill(changing, queries, k, plan=plan, where="row >= 500 and row < 7000"), (
                k,
                plan,
            )


@pytest.mark.parametrize("plan", PLANS)
def test_exactly_as_many_rows_as_are_allowed_are_all_found(near, corpus, plan):
    hits = near.search(corpus[1], 2100, plan=plan, where="place >= 900")
    allowed = np.flatnonzero([d.metadata["place"] >= 900 for d in near.get(range(3000))])
    assert (np.sort(hits.rows, axis=1) == allowed).all()
    padded = near.search(corpus[1][:4], 2190, plan=plan, where="place >= 900")
    assert (padded.rows[:, :2100] >= 0).all()
    assert (padded.rows[:, 2100:] == -1).all()
    assert (padded.scores[:, 2100:] == -np.inf).all()


def test_certified_and_exact_answers_are_full_too(near, corpus):
    for options in ({"certify": True}, {"exact": True}):
        assert fill(near, corpus[1], 300, plan=PLANS[0], where="place >= 900", **options)
    proven = near.search(corpus[1], 300, plan=PLANS[0], where="place >= 900", certify=True)
    exact = near.search(corpus[1], 300, plan="probe=all; full", where="place >= 900")
    assert (proven.certified == (proven.rows == exact.rows).all(axis=1)).all()


def test_a_query_is_answered_alike_alone_in_a_batch_and_by_any_threads(near, corpus):
    queries, options = corpus[1], {"plan": "probe=1; full", "where": "place >= 900"}
    batch = near.search(queries, 60, **options)
    for threads in (1, 3):
        again = near.search(queries, 60, threads=threads, **options)
        assert (again.rows == batch.rows).all()
        assert again.stats == batch.stats
    for q in range(len(queries)):
        alone = near.search(queries[q : q + 1], 60, **options)
        assert (alone.rows[0] == batch.rows[q]).all()
        assert (alone.scores[0] == batch.scores[q]).all()


def test_what_was_read_in_vain_is_counted(near, corpus):
    options = {"plan": "probe=1; full", "where": "place >= 900"}
    few = near.search(corpus[1][:1], 1, **options).stats
    many = near.search(corpus[1][:1], 1000, **options).stats
    assert many.cells > few.cells
    assert many.size_bytes > few.size_bytes
    assert many.stages[-1].rows >= 1000
    assert len(load().search_batch.signatures) == 1  # no array of another kind came along
