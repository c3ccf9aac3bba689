"""Searching with `where`: the answer is that of an index of the allowed rows alone."""

import re
import sqlite3
from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pytest

from nestvec import Index
from nestvec.errors import DamagedIndexError, FilterError, InputError, StorageError
from nestvec.filters.evaluate import matches
from nestvec.filters.parser import parse_where
from nestvec.kernels.layout import record_ids_of

from .conftest import clustered

EXACT = "probe=all; full"
K = 10


def brute_force(queries, vectors, rows, k):
    """The best of `rows` by float64 inner product, equal ones by row; −1 beyond them."""
    scores = queries.astype(float) @ vectors[rows].T.astype(float)
    best = [np.asarray(rows)[np.lexsort((rows, -line))[:k]] for line in scores]
    return np.array([[*line, *[-1] * (k - len(line))] for line in best], int)


def drawn(rng, row):
    return {
        "row": row,
        "share": float(rng.random()),
        "topic": f"t{rng.integers(24)}",
        "tags": [f"tag{i}" for i in rng.integers(0, 5, 2)],
    }


@pytest.fixture(scope="module")
def metadata(corpus):
    rng = np.random.default_rng(3)
    return [drawn(rng, row) if row % 7 else None for row in range(len(corpus[0]))]


@pytest.fixture(scope="module")
def filtered(corpus, metadata, tmp_path_factory):
    """3,000 rows, a seventh of them without metadata."""
    path = tmp_path_factory.mktemp("filters") / "i.nv"
    texts = [f"text {row}" for row in range(len(corpus[0]))]
    records = [m or {} for m in metadata]
    return Index.build(corpus[0], path, texts=texts, metadata=records)


def allowed_rows(index, where):
    """What the definition allows, row by row."""
    condition = parse_where(where)
    rows = index.snapshot.numbers().tolist()
    return [
        row
        for row, document in zip(rows, index.snapshot.documents(rows), strict=True)
        if matches(condition, document)
    ]


def test_cells_without_an_allowed_row_are_ranked_last(index):
    (part,) = index.snapshot.parts
    segment, allowed = part.coded, np.zeros(len(index), np.uint8)
    allowed[:40] = 1
    priors = segment.priors_for(allowed)
    cells = segment.cells
    cells_with_rows = {
        cell
        for cell in range(len(cells.counts))
        if (cells.rows[record_ids_of(cells, cell)] < 40).any()
    }
    assert 0 < len(cells_with_rows) < len(cells.counts)
    assert set(np.flatnonzero(priors > -np.inf)) == cells_with_rows
    assert (priors[sorted(cells_with_rows)] == cells.priors[sorted(cells_with_rows)]).all()
    assert segment.with_priors(priors).probeable_cells == len(cells_with_rows)
    assert segment.probeable_cells == len(cells.counts)


FILTERS = [
    "row < 4",  # 0.1 %
    "share < 0.01",
    "share < 0.1 and row is not null",
    "share < 0.5",
    "row is null",
    "not row is null",
    "topic in ('t1', 't2') or 'tag3' in tags",
    "id >= 0",  # 100 %
    "text != 'text 5' and id between 100 and 2000",
    "share > 2",  # none
]


@pytest.mark.parametrize("where", FILTERS)
def test_an_exact_search_is_exact_among_the_allowed_rows(filtered, corpus, where):
    vectors, queries = corpus
    rows = allowed_rows(filtered, where)
    hits = filtered.search(queries, K, plan=EXACT, where=where)
    assert (hits.rows == brute_force(queries, vectors, rows, K)).all()


@pytest.mark.parametrize("where", FILTERS)
def test_a_proven_answer_is_exact_among_the_allowed_rows(filtered, corpus, where):
    vectors, queries = corpus
    rows = allowed_rows(filtered, where)
    hits = filtered.search(queries, K, exact=True, where=where)
    assert (hits.rows == brute_force(queries, vectors, rows, K)).all()
    assert hits.certified.all()
    assert hits.stats.queries == len(queries)


@pytest.mark.parametrize("where", FILTERS)
def test_the_default_plan_finds_nearly_all_of_the_allowed_rows(filtered, corpus, where):
    vectors, queries = corpus
    rows = allowed_rows(filtered, where)
    truth = brute_force(queries, vectors, rows, K)
    found = filtered.search(queries, K, where=where).rows
    assert set(found.ravel().tolist()) <= {*rows, -1}
    shared = [len(set(a) & set(b)) / len(set(a)) for a, b in zip(truth, found, strict=True)]
    assert np.mean(shared) > 0.97


def test_what_is_content_is_found_when_the_filter_is_about_something_else(corpus, tmp_path):
    # The hard case: all allowed rows lie far from the query.
    vectors, queries = corpus
    far = vectors @ queries[0] < np.quantile(vectors @ queries[0], 0.1)
    index = Index.build(vectors, tmp_path / "i.nv", metadata=[{"far": bool(f)} for f in far])
    hits = index.search(queries[:1], K, where="far = true")
    assert (hits.rows == brute_force(queries[:1], vectors, np.flatnonzero(far), K)).all()


def test_fewer_allowed_rows_than_asked_for_leave_places_empty(filtered, corpus):
    for plan in (None, EXACT, "probe=1; 64x1:100 > full", "probe=2; 64x1:100"):
        hits = filtered.search(corpus[1], 9, plan=plan, where="row in (1, 2, 3)")
        assert (np.sort(hits.rows[:, :3], axis=1) == [1, 2, 3]).all(), plan
        assert (hits.ids[:, :3] == hits.rows[:, :3]).all()
        assert (hits.rows[:, 3:] == -1).all()
        assert (hits.ids[:, 3:] == -1).all()
        assert (hits.scores[:, 3:] == -np.inf).all()


def test_no_allowed_row_is_an_empty_answer(filtered, index, corpus):
    hits = filtered.search(corpus[1], 4, where="share > 2")
    assert (hits.rows == -1).all()
    hits = index.search(corpus[1], 4, where="row > 9999")  # its ids are texts
    assert all(id_ is None for id_ in hits.ids.ravel())
    assert hits.rows.shape == hits.scores.shape == hits.ids.shape == (40, 4)


def test_a_filter_that_allows_all_changes_nothing(filtered, corpus):
    _, queries = corpus
    for plan in (None, EXACT, "probe=5; 64x1:100 > full"):
        plain = filtered.search(queries, K, plan=plan)
        every = filtered.search(queries, K, plan=plan, where="id is not null")
        assert (plain.rows == every.rows).all()
        assert (plain.scores == every.scores).all()
        assert plain.stats == every.stats


def test_equal_scores_go_to_the_smaller_allowed_row(tmp_path):
    vectors = np.ones((100, 8), np.float32)
    index = Index.build(vectors, tmp_path / "i.nv", metadata=[{"n": n} for n in range(100)])
    for plan in (None, EXACT):
        hits = index.search(vectors[:1], 3, plan=plan, where="n > 41")
        assert hits.rows.tolist() == [[42, 43, 44]]


def test_what_changes_is_seen_and_what_is_deleted_is_not_found(corpus, tmp_path):
    vectors, queries = corpus
    index = Index.build(vectors[:2000], tmp_path / "i.nv", metadata=[{"n": n} for n in range(2000)])
    where = "n >= 1000"

    def holds(rows, condition):
        hits = index.search(queries, K, plan=EXACT, where=where)
        assert (hits.rows == brute_force(queries, condition, rows, K)).all()

    holds(range(1000, 2000), vectors)
    index.add(vectors[2000:2500], ids=range(2000, 2500), metadata=[{"n": n} for n in range(500)])
    holds(range(1000, 2000), vectors)
    index.add(vectors[2500:], ids=range(2500, 3000), metadata=[{"n": n} for n in range(1000, 1500)])
    holds([*range(1000, 2000), *range(2500, 3000)], vectors)
    index.delete(range(1000, 1500))
    holds([*range(1500, 2000), *range(2500, 3000)], vectors)
    index.compact()
    holds([*range(1500, 2000), *range(2500, 3000)], vectors)
    reopened = Index.open(index.path).search(queries, K, where=where)
    assert (reopened.rows == index.search(queries, K, where=where).rows).all()


def test_an_update_of_metadata_moves_a_row_in_and_out(corpus, tmp_path):
    vectors, _ = corpus
    index = Index.build(vectors[:50], tmp_path / "i.nv", metadata=[{"ok": True}] * 50)
    assert 7 in index.search(vectors[7:8], 5, where="ok = true").ids
    index.update(ids=[7], metadata=[{"ok": False}])
    assert 7 not in index.search(vectors[7:8], 5, where="ok = true").ids
    assert index.search(vectors[7:8], 5, where="ok = false").ids.tolist() == [[7, -1, -1, -1, -1]]


def test_an_old_generation_says_so_when_its_rows_are_gone(corpus, tmp_path):
    vectors, queries = corpus
    index = Index.build(vectors[:50], tmp_path / "i.nv", metadata=[{"n": n} for n in range(50)])
    old = Index.open(index.path)
    assert old.search(queries, 5, where="n < 20").rows.max() < 20
    index.delete([3])
    assert old.search(queries, 5, where="n = 3").rows[0, 0] == 3
    index.compact()
    assert old.search(queries, 5, where="n = 3").rows[0, 0] == 3  # the mask is still known
    with pytest.raises(StorageError, match="refresh"):
        old.search(queries, 5, where="n = 4")
    old.refresh()
    assert old.search(queries, 5, where="n = 4").ids[0, 0] == 4


def test_an_index_of_another_lineage_is_not_asked(corpus, tmp_path):
    vectors, queries = corpus
    old = Index.build(vectors[:50], tmp_path / "i.nv")
    Index.build(vectors[50:100], tmp_path / "i.nv", overwrite=True)
    with pytest.raises(StorageError, match="replaced"):
        old.search(queries, 5, where="id = 4")


def test_one_and_true_are_different_filters(corpus, tmp_path):
    vectors, queries = corpus
    index = Index.build(
        vectors[:3], tmp_path / "i.nv", metadata=[{"x": 1}, {"x": True}, {"x": "1"}]
    )
    for where, row in [("x = 1", 0), ("x = true", 1), ("x = '1'", 2), ("x = 1.0", 0)]:
        assert index.search(queries[:1], 1, where=where).rows.tolist() == [[row]]


def test_a_filter_is_remembered_until_eight_others_were_asked_for(corpus, tmp_path):
    index = Index.build(corpus[0][:9], tmp_path / "i.nv", metadata=[{"n": n} for n in range(9)])
    before = index.search(corpus[1], 3, where="n < 5")
    (index.path / "catalog.sqlite").rename(tmp_path / "away")  # nobody can ask it now
    again = index.search(corpus[1], 3, where="n < 5")
    assert (before.rows == again.rows).all()
    with pytest.raises(StorageError):
        index.search(corpus[1], 3, where="n < 6")
    (tmp_path / "away").rename(index.path / "catalog.sqlite")
    for n in range(8):
        index.search(corpus[1], 3, where=f"n = {n}")
    (index.path / "catalog.sqlite").rename(tmp_path / "away")
    with pytest.raises(StorageError):
        index.search(corpus[1], 3, where="n < 5")


@pytest.mark.parametrize("where", ["", "row >=", "row = 1; DROP TABLE rows"])
def test_a_filter_that_cannot_be_read_is_refused(filtered, corpus, where):
    with pytest.raises(FilterError):
        filtered.search(corpus[1], where=where)


def test_metadata_that_is_no_json_is_damage(corpus, tmp_path):
    index = Index.build(corpus[0][:9], tmp_path / "i.nv", metadata=[{"n": n} for n in range(9)])
    with sqlite3.connect(index.path / "catalog.sqlite") as db:
        db.execute("UPDATE rows SET metadata = '{' WHERE row = 4")
    with pytest.raises(DamagedIndexError, match=re.escape("catalog.sqlite")):
        index.search(corpus[1], 3, where="n = 1")


@pytest.mark.parametrize("value", [np.inf, {1, 2}, object()], ids=["inf", "set", "object"])
def test_metadata_that_json_cannot_hold_is_refused(corpus, tmp_path, value):
    with pytest.raises(InputError, match=r"metadata\[1\]"):
        Index.build(corpus[0][:2], tmp_path / "i.nv", metadata=[{"n": 1.0}, {"n": value}])


@pytest.mark.door("metadata: NumPy scalars, dates, decimals, NaN", "numbers, ISO texts, null")
@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (np.float32(0.5), 0.5), (np.int64(7), 7), (np.bool_(True), True), (np.float32("nan"), None),
        (float("nan"), None), ([1.0, float("nan")], [1.0, None]), (np.arange(2), [0, 1]),
        (Decimal("2.5"), 2.5), (Decimal("NaN"), None), ((1, 2), [1, 2]),
        (datetime(2024, 2, 29, 12, 30), "2024-02-29T12:30:00"), (date(2024, 2, 29), "2024-02-29"),
        (np.datetime64("2024-02-29"), "2024-02-29"), ({"a": {"b": np.int8(1)}}, {"a": {"b": 1}}),
    ],
    ids=str,
)  # fmt: skip
def test_ordinary_values_become_json(corpus, tmp_path, value, stored):
    index = Index.build(corpus[0][:1], tmp_path / "i.nv", metadata=[{"n": value}])
    assert index.get([0])[0].metadata == {"n": stored}


def test_a_wide_corpus_is_found_by_topic(tmp_path):
    vectors = clustered(np.random.default_rng(1), 5000, 64)
    topic = (vectors[:, 0] > 0).tolist()
    index = Index.build(vectors, tmp_path / "i.nv", metadata=[{"t": t} for t in topic])
    hits = index.search(vectors[:100], 1, where="t = true")
    mine = np.flatnonzero(topic[:100])
    assert (hits.rows[mine, 0] == mine).all()


def test_what_is_worked_out_of_a_segment_is_worked_out_once_whatever_the_filter(tmp_path, rng):
    # A search through a filter ranks cells anew; the rotation and the plans stay what they are.
    index = Index.build(
        rng.standard_normal((3_000, 64)).astype(np.float32), tmp_path / "once.nv",
        metadata=[{"row": row} for row in range(3_000)],
    )  # fmt: skip
    (whole,) = index.snapshot.parts
    for where in ("row < 2500", "row < 2600", "row < 2500"):
        (part,) = index._filters.apply(index.snapshot, where).parts
        assert part.coded is not whole.coded
        assert part.coded.derived is whole.coded.derived


@pytest.mark.door(
    "a filter on a misspelt field, or on a value of another type",
    "a warning that names the fields there are",
)
@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            "yeer = 3",
            "no row has a field yeer (did you mean year?); the fields are tags, venue, year",
        ),
        ("yeer != 3", "no row has a field yeer (did you mean year?)"),
        ("venue.nme is null", "no row has a field venue.nme"),
        ("year = '2020'", "year is compared with texts, and the rows have numbers there"),
        ("'x' in year", "year is compared with lists, and the rows have numbers there"),
        ("tags = 'x'", "tags is compared with texts, and the rows have lists there"),
        ("year like '20%'", "year is compared with texts"),
        ("venue < 3", "venue is compared with numbers, and the rows have objects there"),
    ],
)
def test_a_field_that_fits_no_row_is_a_warning_that_names_the_fields(
    corpus, tmp_path, caplog, where, message
):
    metadata = [{"year": 2020, "tags": ["x"], "venue": {"name": "ACL"}}, None, {"year": 2.5}]
    index = Index.build(corpus[0][:3], tmp_path / "i.nv", metadata=metadata)
    for _ in range(2):  # once for each new filter
        index.search(corpus[0][:1], 1, where=where)
    (logged,) = caplog.messages
    assert message in logged


@pytest.mark.parametrize(
    "where", ["year = 2020", "year > 3000", "'y' in tags", "tags contains 'y'", "text = 'x'",
              "venue.name like 'B%'", "id > 7", "year in (1, 'x')", "tags is null"]
)  # fmt: skip
def test_a_filter_that_could_match_is_no_warning(corpus, tmp_path, caplog, where):
    metadata = [{"year": 2020, "tags": ["x"], "venue": {"name": "ACL"}}]
    index = Index.build(corpus[0][:1], tmp_path / "i.nv", metadata=metadata)
    index.search(corpus[0][:1], 1, where=where)
    assert not caplog.messages


def test_a_filter_without_any_metadata_is_a_warning(corpus, tmp_path, caplog):
    index = Index.build(corpus[0][:3], tmp_path / "i.nv")
    index.search(corpus[0][:1], 1, where="year = 1")
    assert "because no row has metadata" in caplog.messages[0]
