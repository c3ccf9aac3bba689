"""Hits: lists of hits per query, tables, pictures in a notebook, and a life without the index."""

import pickle

import numpy as np
import pytest

from nestvec import Index, Plan
from nestvec.hits import Hit


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    vectors = np.eye(6, dtype=np.float32)
    ids = ["a", "b", "c", "d", "e", "<f>"]
    path = tmp_path_factory.mktemp("hits") / "small.nv"
    return Index.build(vectors, path, ids=ids, metadata=[{"n": n} for n in range(6)])


@pytest.fixture
def hits(index):
    return index.search(np.eye(6, dtype=np.float32)[[5, 2]], k=3)


def test_one_query_gives_a_list_of_hits_best_first(hits):
    assert len(hits) == 2
    assert hits[0][0] == Hit("<f>", 1.0, 5)
    assert [hit.id for hit in hits[1]][:1] == ["c"]
    assert hits[-1] == hits[1]


def test_iteration_gives_the_hits_of_every_query_and_ends(hits):
    assert list(hits) == [hits[0], hits[1]]
    with pytest.raises(IndexError):
        hits[2]


def test_padding_is_no_hit(index):
    hits = index.search(np.eye(6, dtype=np.float32)[:1], k=4, where="n < 2")
    assert hits.ids.shape == (1, 4)
    assert [hit.id for hit in hits[0]] == ["a", "b"]


def test_hits_know_their_plan(index):
    plan = "probe=all; full"
    query = np.eye(6, dtype=np.float32)[:1]
    assert index.search(query, k=2, plan=plan).plan == Plan.parse(plan)
    assert index.search(query, k=2).plan == index.default_plan(2)


def test_hits_pickle_with_their_stats_and_without_the_index(hits):
    copy = pickle.loads(pickle.dumps(hits))
    assert list(copy) == list(hits)
    assert (copy.stats, copy.plan) == (hits.stats, hits.plan)
    assert (copy.certified == hits.certified).all()


def test_a_pickled_copy_can_be_cut_by_score_and_pickled_again(hits):
    copy = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(hits))))
    assert copy.with_min_score(0.5).stats == hits.stats


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_tables_have_a_row_for_each_hit(hits, kind):
    pytest.importorskip({"arrow": "pyarrow"}.get(kind, kind))
    table = getattr(hits, f"to_{kind}")()
    columns = table.to_pydict() if kind == "arrow" else {c: list(table[c]) for c in table.columns}
    assert list(columns) == ["query", "rank", "id", "score", "row"]
    assert columns["query"] == [0, 0, 0, 1, 1, 1]
    assert columns["rank"] == [1, 2, 3] * 2
    assert columns["id"] == [hit.id for of_query in hits for hit in of_query]


def test_repr_is_one_line_and_names_the_best(hits):
    text = repr(hits)
    assert "\n" not in text
    assert "2 queries, k=3" in text
    assert "'<f>' 1.0000" in text


def test_the_notebook_table_escapes_ids(hits):
    html = hits._repr_html_()
    assert "&lt;f&gt;" in html
    assert "<f>" not in html


def test_hits_below_a_score_become_padding(hits):
    bar = float(hits.scores.max()) / 2
    cut = hits.with_min_score(bar)
    for before, after in zip(hits, cut, strict=True):
        assert after == [hit for hit in before if hit.score >= bar]
    assert cut.rows.shape == hits.rows.shape
    assert (cut.ids == hits.ids)[cut.rows >= 0].all()
    assert (cut.rows == -1).any()
