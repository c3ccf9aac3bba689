"""`nestvec add`, `update`, `delete`, `compact`, and what `info` says of them."""

import io
import json

import numpy as np
import pytest

from nestvec import Index


@pytest.fixture
def index(run, vectors, tmp_path):
    """300 vectors under the ids 0 to 299."""
    np.save(tmp_path / "v.npy", vectors)
    run("index", tmp_path / "v.npy", "-o", tmp_path / "i.nv")
    return tmp_path / "i.nv"


def test_vectors_are_added_and_deleted_and_compacted(run, index, tmp_path):
    added = run("add", index, tmp_path / "v.npy", "--limit", 20, "--json").json
    assert (added["added"], added["rows"], added["generation"]) == (20, 320, 2)
    deleted = run("delete", index, 3, 305, "--json").json
    assert (deleted["deleted"], deleted["rows"], deleted["deleted_rows"]) == (2, 318, 2)
    facts = run("info", index, "--verify", "--json").json
    assert (facts["rows"], facts["generation"], facts["deleted_rows"]) == (318, 3, 2)
    assert [segment["layout"] for segment in facts["segments"]] == ["coded", "flat"]
    compacted = run("compact", index, "--json").json
    assert (compacted["dropped"], compacted["rows"], compacted["segments"]) == (2, 318, 1)


def test_each_says_to_people_what_it_did(run, index, tmp_path):
    assert "20 rows" in run("add", index, tmp_path / "v.npy", "--limit", 20).out
    assert "318" not in run("delete", index, 3).out
    assert "generation 3" in run("compact", index).out.replace("generation 4", "generation 3")
    assert "generation" in run("info", index).out


@pytest.mark.door("ids from a pipe, with a BOM and CRLF", "the ids without them")
@pytest.mark.parametrize("ids", ["5\n7\n\n", "\ufeff5\r\n7\r\n"])
def test_ids_to_delete_are_read_from_standard_input(run, index, monkeypatch, ids):
    monkeypatch.setattr("sys.stdin", io.StringIO(ids))
    assert run("delete", index, "--json").json["deleted"] == 2
    assert not {5, 7} & set(Index.open(index).ids.tolist())


def test_rows_are_updated_by_id_and_keep_their_texts(run, index, vectors, tmp_path):
    lines = [json.dumps({"id": id_, "vector": (-vectors[id_]).tolist()}) for id_ in (7, 5)]
    (tmp_path / "new.jsonl").write_text("\n".join(lines))
    assert run("update", index, tmp_path / "new.jsonl", "--json").json["updated"] == 2
    opened = Index.open(index)
    assert opened.ids.tolist()[-2:] == [7, 5]
    assert (opened.vectors[-2:] == -vectors[[7, 5]]).all()


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(("field", "error"), [("vector", "is in the index"), ("text", "already")])
def test_ids_of_a_column_must_be_new_even_where_they_count_from_0(
    refuse, index, vectors, tmp_path, first, field, error
):
    values = vectors[:3].tolist() if field == "vector" else ["a", "b", "c"]
    lines = [json.dumps({"_id": first + row, field: value}) for row, value in enumerate(values)]
    (tmp_path / "more.jsonl").write_text("\n".join(lines))
    model = () if field == "vector" else ("--model", "minilm")
    assert error in refuse("add", index, tmp_path / "more.jsonl", *model)
    assert len(Index.open(index)) == 300


def test_what_cannot_be_changed_is_said_in_one_sentence(refuse, index, tmp_path):
    assert "id 900 is not in the index; nothing was changed" in refuse("delete", index, 900)
    assert "whole numbers" in refuse("delete", index, "seven")
    assert "no column of ids" in refuse("update", index, tmp_path / "v.npy")
    assert "is not a nestvec index" in refuse("compact", tmp_path / "none.nv")


def test_add_with_replace_takes_new_and_known_ids(run, refuse, vectors, tmp_path):
    rows = [{"id": f"r{i}", "vector": v.tolist(), "n": i} for i, v in enumerate(vectors[:30])]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run("index", tmp_path / "a.jsonl", "-o", tmp_path / "r.nv")
    rows = [{"id": f"r{i}", "vector": (-v).tolist()} for i, v in enumerate(vectors[:40])][25:]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert "r25" in refuse("add", tmp_path / "r.nv", tmp_path / "b.jsonl")
    added = run("add", tmp_path / "r.nv", tmp_path / "b.jsonl", "--replace", "--json").json
    assert added["rows"] == 40
    stored = Index.open(tmp_path / "r.nv")
    hits = stored.search(-vectors[25:40], 1, exact=True)
    assert hits.ids[:, 0].tolist() == [f"r{i}" for i in range(25, 40)]


@pytest.mark.door("rows without ids, to update or --replace with", "refused, before the model")
@pytest.mark.parametrize("command", [("update",), ("add", "--replace")])
@pytest.mark.parametrize("name", ["v.npy", "t.txt", "t.jsonl", "v.jsonl"])
def test_rows_without_ids_replace_nothing(refuse, vectors, index, tmp_path, command, name):
    (tmp_path / "t.txt").write_text("one\ntwo\n")
    (tmp_path / "t.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "v.jsonl").write_text(json.dumps({"vector": vectors[0].tolist()}))
    model = ("--model", "/no/such/model") if name.startswith("t") else ()
    message = refuse(command[0], index, tmp_path / name, *command[1:], *model)
    assert "has no column of ids, by which rows are replaced" in message


def test_rows_that_match_a_filter_are_deleted(run, refuse, index):
    outcome = run("delete", index, "--where", "id between 10 and 19", "--json").json
    assert (outcome["deleted"], outcome["rows"]) == (10, 290)
    assert "leave one of the two out" in refuse("delete", index, 3, "--where", "id = 4")
