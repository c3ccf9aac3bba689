"""Columns of files.

Which become text, id and metadata, and that an index remembers them.
"""

import json

import numpy as np
import pytest

from nestvec import Index
from nestvec.data import read_texts
from nestvec.errors import DataError

pytest.importorskip("torch")

PAPERS = [
    {"doi": f"10/{n}", "title": f"title {n}", "abstract": f"abstract {n}", "year": 2000 + n,
     "venue": "here", "text": "not this"}
    for n in range(4)
]  # fmt: skip


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def index(tmp_path, run):
    file = write(tmp_path / "papers.jsonl", PAPERS)
    columns = ("--text-column", "title", "--text-column", "abstract", "--id-column", "doi")
    run("index", file, "-o", tmp_path / "x.nv", *columns, "--metadata-columns", "year")
    return Index.open(tmp_path / "x.nv")


@pytest.mark.door("--metadata-columns year", "of the other columns, year alone becomes metadata")
def test_chosen_metadata(index):
    assert [row.metadata for row in index.get(["10/0", "10/3"])] == [{"year": 2000}, {"year": 2003}]


def test_metadata_that_no_row_has_is_an_error(tmp_path):
    path = write(tmp_path / "papers.jsonl", PAPERS)
    with pytest.raises(DataError, match=r"no metadata 'yeer'; it has 'doi', .*'year'"):
        read_texts(path, "abstract", metadata_columns=["yeer"])


def test_the_command_says_which_columns_became_what(tmp_path, run):
    file = write(tmp_path / "papers.jsonl", PAPERS)
    out = run("index", file, "-o", tmp_path / "y.nv", "--id-column", "doi").out
    assert "text: title + text; id: doi; metadata: abstract, year, venue" in " ".join(out.split())


def test_later_objects_may_have_a_column_that_the_first_lacks(tmp_path):
    rows = [{"body": "one"}, {"head": "two", "body": "three"}]
    corpus = read_texts(write(tmp_path / "x.jsonl", rows), ["head", "body"])
    assert corpus.texts == ("one", "two three")
    with pytest.raises(DataError, match=r"no row of .* has a text in 'foot'"):
        read_texts(tmp_path / "x.jsonl", ["body", "foot"])


@pytest.mark.door(
    "rows added to an index of title + abstract", "their text is title + abstract again"
)
@pytest.mark.parametrize("command", ["add", "update"])
def test_what_is_added_is_read_from_the_same_columns(index, command, tmp_path, run):
    ids = {"add": "11/{}", "update": "10/{}"}[command]
    rows = [{**row, "doi": ids.format(n), "title": f"new {n}"} for n, row in enumerate(PAPERS)]
    assert run(command, index.path, write(tmp_path / "more.jsonl", rows)).code == 0
    (document,) = Index.open(index.path).get([ids.format(1)])
    assert document.text == "new 1 abstract 1"
    assert document.metadata == {"year": 2001}


@pytest.mark.door(
    "rows added without a column of the index's texts", "refused, with the columns that it records"
)
@pytest.mark.parametrize("command", ["add", "update"])
def test_other_columns_are_refused_unless_named(index, command, tmp_path, run, refuse):
    ids = {"add": "11/{}", "update": "10/{}"}[command]
    rows = [{"doi": ids.format(0), "title": "only a title", "year": 1}]
    csv = tmp_path / "more.csv"
    csv.write_text(f"doi,title,year\n{ids.format(0)},only a title,1\n")
    for file in (write(tmp_path / "more.jsonl", rows), csv):
        assert "'abstract'" in refuse(command, index.path, file)
    assert run(command, index.path, csv, "--text-column", "title").code == 0
    (document,) = Index.open(index.path).get([ids.format(0)])
    assert document.text == "only a title"


def test_vectors_without_texts_leave_texts_as_they_are(index, tmp_path, run):
    rows = [{"doi": "10/0", "year": 1999, "vector": np.ones(384).tolist()}]
    assert run("update", index.path, write(tmp_path / "v.jsonl", rows)).code == 0
    (document,) = Index.open(index.path).get(["10/0"])
    assert document.text == "title 0 abstract 0"
    assert document.metadata == {"year": 1999}


@pytest.mark.door("a record with both _id and id", "_id is the id, of texts and of vectors alike")
@pytest.mark.parametrize("field", ["text", "vector"])
def test_the_column_that_is_said_to_be_the_id_is_the_id(field, tmp_path, run):
    value = "a text" if field == "text" else [1.0, 2.0]
    file = write(tmp_path / "x.jsonl", [{"id": "second", "_id": "first", field: value}])
    outcome = run("index", file, "-o", tmp_path / "x.nv", "--json")
    assert outcome.json["columns"]["id"] == "_id"
    index = Index.open(tmp_path / "x.nv")
    assert list(index.ids) == ["first"]
    assert index.get(["first"])[0].metadata == {"id": "second"}
